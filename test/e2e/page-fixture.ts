import { createServer } from 'node:http';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import type { Browser, BrowserContextOptions, Frame, Page } from 'playwright-core';
import { describe } from 'vitest';
import { findChromium, launchChromium } from '#test/chromium';
import { startModelSimulator, type ModelSimulator } from '#test/model-simulator';
import { startUsher, type UsherProcess } from '#test/process';
import { usherFiles, type AssistantFiles } from '#test/usher-files';

/** A group of tests that drive a browser. */
export function inBrowser(title: string, tests: () => void): void {
  const isThere = findChromium() !== undefined;
  describe.skipIf(!isThere)(isThere ? title : `${title} (skipped: no Chromium is installed)`, tests);
}

/** The real server before a simulated model, and a real browser before the server. */
export interface PageFixture extends AsyncDisposable {
  readonly usher: UsherProcess;
  readonly simulator: ModelSimulator;
  readonly browser: Browser;
  /** A visitor of their own, with the page of this assistant open and ready. */
  visit(assistant: string, options?: BrowserContextOptions): Promise<Visitor>;
}

export interface Visitor extends AsyncDisposable {
  readonly page: Page;
  /** What the browser complained about: blocked content, uncaught errors. */
  readonly complaints: readonly string[];
}

export async function openPageFixture(assistants: Readonly<Record<string, AssistantFiles>>): Promise<PageFixture> {
  const simulator = await startModelSimulator();
  const usher = await startUsher(usherFiles([simulator.baseUrl], { assistants: withoutRescue(assistants) }));
  const browser = await launchChromium();
  return {
    usher,
    simulator,
    browser,
    visit: async (assistant, options = {}) => {
      const visitor = await openVisitor(browser, options);
      await visitor.page.goto(`${usher.url}/chat/${assistant}`);
      await isReady(visitor.page);
      return visitor;
    },
    [Symbol.asyncDispose]: async () => {
      await browser.close();
      await usher.stop();
      await simulator.stop();
    },
  };
}

/** A browser profile of its own. */
export async function openVisitor(browser: Browser, options: BrowserContextOptions = {}): Promise<Visitor> {
  const context = await browser.newContext({ reducedMotion: 'reduce', ...options });
  const page = await context.newPage();
  const complaints: string[] = [];
  page.on('pageerror', (error) => complaints.push(error.message));
  page.on('console', (message) => {
    if (message.type() === 'error') complaints.push(message.text());
  });
  return { page, complaints, [Symbol.asyncDispose]: () => context.close() };
}

/** The page has its token: the list of conversations was asked for. */
export async function isReady(page: Page | Frame): Promise<void> {
  await page.locator('body[data-state="ready"]').waitFor();
}

/** Types a message and sends it, as a person does. */
export async function ask(page: Page | Frame, text: string): Promise<void> {
  const field = page.locator('#say');
  await field.fill(text);
  await field.press('Enter');
}

/** The newest answer, once it has ended. */
export function ended(page: Page | Frame) {
  return page.locator('.exchange').last().locator('.answer:not([aria-busy])');
}

/** A whole answer of the newest question. */
export async function answered(page: Page | Frame): Promise<string> {
  await ended(page).locator('.actions').waitFor();
  return ended(page).locator('.words').innerText();
}

/** A site of another origin that shows one page. */
export async function openSite(
  page: (origin: string) => string,
): Promise<AsyncDisposable & { readonly origin: string }> {
  const server = createServer((_request, response) => {
    response.setHeader('content-type', 'text/html; charset=utf-8').end(page(origin));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return {
    origin,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

const axePath = fileURLToPath(import.meta.resolve('axe-core/axe.min.js'));

/** What axe finds against WCAG 2.2 AA, each in a line. */
export async function accessProblems(page: Page | Frame): Promise<string[]> {
  await page.evaluate(await readFile(axePath, 'utf8'));
  const rules = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'];
  const options = JSON.stringify({ runOnly: { type: 'tag', values: rules } });
  const { violations } = await page.evaluate<AxeReport>(`axe.run(document, ${options})`);
  return violations.flatMap(({ id, nodes }) =>
    nodes.map(({ html, failureSummary }) => `${id}: ${html} ${failureSummary ?? ''}`),
  );
}

interface AxeReport {
  readonly violations: readonly {
    readonly id: string;
    readonly nodes: readonly { readonly html: string; readonly failureSummary?: string }[];
  }[];
}

/** Unless a test is about it: what breaks is to be seen broken. */
function withoutRescue(assistants: Readonly<Record<string, AssistantFiles>>): Record<string, AssistantFiles> {
  return Object.fromEntries(
    Object.entries(assistants).map(([name, files]) => [
      name,
      { ...files, spec: { turns: { rescue: 'fail' }, ...files.spec } },
    ]),
  );
}
