import { createHash } from 'node:crypto';
import { functionNamePattern } from './tool-spec.ts';

const nameLengthMax = 64;
const markLength = 8;

/**
 * What the model calls the tool `name` of the source `label`: `label_name`. Labels hold no underscore, so two
 * sources never meet. A name that models would not accept is spelt anew and marked by its digest, so that two
 * such names stay two.
 */
export function sourceToolName(label: string, name: string): string {
  const plain = `${label}_${name}`;
  if (functionNamePattern.test(plain)) return plain;
  const mark = createHash('sha256').update(name).digest('hex').slice(0, markLength);
  const spelt = plain.replaceAll(/[^a-zA-Z0-9_-]+/g, '_').slice(0, nameLengthMax - markLength - 1);
  return `${spelt}_${mark}`;
}
