import type { FunctionTool } from '#backend';
import { textOf, type ContentPart, type Item } from '#conversation';

/** As tokens are estimated. */
export const bytesPerToken = 4;

/**
 * Tokens of a text, estimated: four UTF-8 bytes each. Exact counting costs 0.5 ms per 1,000 tokens
 * and 190 MB; this is within a fifth for prose in Latin scripts and errs high for CJK.
 */
export function estimateTokens(text: string): number {
  return Math.ceil(Buffer.byteLength(text) / bytesPerToken);
}

/** Of functions that a model is offered: models read them in forms of their own, none shorter than JSON by much. */
export function estimateToolTokens(functions: readonly FunctionTool[]): number {
  return functions.length === 0 ? 0 : estimateTokens(JSON.stringify(functions));
}

/** Each message costs a few tokens of framing. */
const framingTokens = 4;

/**
 * By OpenAI's rule for its models of 2024: 85, and 170 for each tile of 512 pixels that is looked at
 * closely; four of them in a picture of 1024 by 1024. Its real size is not looked up.
 */
const imageTokens = { low: 85, close: 85 + 4 * 170 };

function attachedTokens(part: ContentPart): number {
  if (part.type === 'image') return part.detail === 'low' ? imageTokens.low : imageTokens.close;
  return part.type === 'file' ? framingTokens + estimateTokens(part.text) : 0;
}

export function estimateItemTokens(item: Item): number {
  switch (item.kind) {
    case 'message':
      return (
        framingTokens +
        estimateTokens(textOf(item.content)) +
        item.content.reduce((sum, part) => sum + attachedTokens(part), 0)
      );
    case 'call':
      return framingTokens + estimateTokens(item.name) + estimateTokens(item.arguments);
    case 'result':
      return (
        framingTokens +
        estimateTokens(item.output) +
        (item.images ?? []).reduce((sum, part) => sum + attachedTokens(part), 0)
      );
    case 'tool':
      return (
        2 * framingTokens +
        estimateTokens(item.name) +
        estimateTokens(item.arguments) +
        estimateTokens(item.output ?? item.error ?? '')
      );
    case 'approval-request':
      return 2 * framingTokens + estimateTokens(item.name) + estimateTokens(item.arguments);
    case 'approval':
      return framingTokens + estimateTokens(item.reason ?? '');
    case 'reasoning':
    case 'compaction':
      // No later turn's model reads a thought, and none a compaction: what that holds is counted where it is opened.
      return 0;
  }
}

/** Of what is to be answered: of that the model reads its thoughts, too. */
export function estimateFreshTokens(items: readonly Item[]): number {
  const thoughts = items.map((item) => (item.kind === 'reasoning' ? item.text : ''));
  return items.reduce((sum, item) => sum + estimateItemTokens(item), estimateTokens(thoughts.join('')));
}
