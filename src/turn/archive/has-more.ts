import { pageBytesMax, type ItemRow } from '#store';

/** Whether more may follow the page: one more row than `limit` was asked for, and large ones make it shorter. */
export function hasMore(rows: readonly ItemRow[], limit: number): boolean {
  return rows.length > limit || rows.reduce((sum, { content }) => sum + content.length, 0) >= pageBytesMax;
}
