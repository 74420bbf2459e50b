import { UsherError } from '#base';
import type { Reach, SubjectId } from '#access';

/** A person writes only what is about themselves. @throws UsherError `forbidden`. */
export function demandOwn(reach: Reach, subject: SubjectId): void {
  if (reach.subject !== null && reach.subject !== subject) {
    throw new UsherError('forbidden', 'A person can store only what is about themselves.');
  }
}
