/** One thing that was looked at. Where it is not ok, `says` ends with the mend. */
export interface Finding {
  readonly subject: string;
  readonly state: 'ok' | 'warn' | 'fail';
  readonly says: string;
}

export type AddFinding = (finding: Finding) => void;
