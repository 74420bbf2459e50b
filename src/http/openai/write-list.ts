/** A page of a list, as every list of the wire is written. */
export function listBody(data: readonly object[], rows: readonly { readonly id: string }[], hasMore: boolean): object {
  return { object: 'list', data, first_id: rows[0]?.id ?? null, last_id: rows.at(-1)?.id ?? null, has_more: hasMore };
}
