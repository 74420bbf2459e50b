import OpenAI from 'openai';
import { expect, test } from 'vitest';
import { guideQuestions } from '#test/guide-questions';
import { startUsher } from '#test/process';

/** Measured 0.84 over 37 questions and 369 passages; below this, something in the quoting broke. */
const answeredMin = 0.75;

test('without a model, the guide quotes what answers most questions about Usher', async () => {
  // No file at all: what `npm start` serves.
  await using usher = await startUsher();
  const client = new OpenAI({ baseURL: `${usher.url}/v1`, apiKey: usher.apiKey, maxRetries: 0 });
  const missed: string[] = [];
  for (const [question, answer] of guideQuestions) {
    const { output_text: text } = await client.responses.create({ model: 'guide', input: question, store: false });
    expect(text).toContain('No language model is configured');
    const quoted = text.split('\n').filter((line) => line.startsWith('>'));
    if (!answer.test(quoted.join('\n'))) missed.push(question);
  }
  const answered = 1 - missed.length / guideQuestions.length;
  process.stdout.write(
    `answered ${answered.toFixed(3)} of ${guideQuestions.length}${missed.map((question) => `\n  missed: ${question}`).join('')}\n`,
  );
  expect(answered).toBeGreaterThanOrEqual(answeredMin);
  expect(missed).not.toContain('How do I write an assistant?');
  expect(missed).not.toContain('Which databases can Usher use?');
});
