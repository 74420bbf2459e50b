import { seededRandom } from '#base';

const dimensions = 64;
/** How much of a text's vector is what it is about; the rest is its own. */
const likeness = 0.65;

/**
 * Stands in for an embedding model in measurements that must come out the same each time: a question and
 * the texts that answer it lean to one direction, and each has a direction of its own besides. Its
 * mistakes come from the latter, so that they have nothing to do with those of a search by words.
 */
export function standInVectors(
  questions: readonly (readonly [question: string, answer: RegExp])[],
): (text: string) => Float32Array {
  const directions = questions.map(([question, answer]) => ({ question, answer, of: directionOf(`?${question}`) }));
  return (text) => {
    const vector = directionOf(text);
    for (const { question, answer, of } of directions) {
      if (text !== question && !answer.test(text)) continue;
      for (const [at, number] of of.entries()) vector[at]! += number * likeness;
    }
    return vector;
  };
}

function directionOf(text: string): Float32Array {
  const random = seededRandom(hashOf(text));
  return Float32Array.from({ length: dimensions }, () => random() - random());
}

/** FNV-1a, 32 bits. */
function hashOf(text: string): number {
  let hash = 0x811c9dc5;
  for (let at = 0; at < text.length; at += 1) hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193) >>> 0;
  return hash;
}
