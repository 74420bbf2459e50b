import { expect, test } from 'vitest';
import { findChromium, launchChromium } from './chromium.ts';

test.skipIf(findChromium() === undefined)('a found Chromium starts and renders a page', async () => {
  const browser = await launchChromium();
  try {
    const page = await browser.newPage();
    await page.setContent('<h1>Row 7</h1>');
    expect(await page.getByRole('heading').textContent()).toBe('Row 7');
  } finally {
    await browser.close();
  }
});
