// A headless browser that does what it is told: each line of stdin is `{id, page, call, args}`, `call` being one of the
// functions below; the answer is a line of stdout. Usage: node browser.mjs PLAYWRIGHT_FOLDER CHROMIUM
import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';

const [folder, executablePath] = process.argv.slice(2);
const { chromium } = createRequire(`${folder}/`)('playwright-core');
const FLAGS = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync'];
const browser = await chromium.launch({ executablePath, args: FLAGS });
const pages = [];

const calls = {
  async open(_, url, width, height) {
    const context = await browser.newContext({ viewport: { width, height }, deviceScaleFactor: 1 });
    await context.grantPermissions(['clipboard-read', 'clipboard-write']);
    const page = await context.newPage();
    await page.goto(url, { waitUntil: 'domcontentloaded', timeout: 240000 });
    await page.waitForSelector('.monaco-workbench .statusbar', { timeout: 240000 });
    return pages.push(page) - 1;
  },
  close: (page) => page.context().close(),
  type: (page, text, delay) => page.keyboard.type(text, { delay }),
  fill: (page, selector, text) => page.locator(selector).first().fill(text),
  press: (page, key) => page.keyboard.press(key),
  click: (page, selector) => page.locator(selector).first().click(),
  hover: (page, selector) => page.locator(selector).first().hover(),
  wait: (page, selector, timeout) => page.locator(selector).first().waitFor({ timeout }).then(() => true),
  gone: (page, selector, timeout) => page.locator(selector).first().waitFor({ state: 'hidden', timeout }).then(() => true),
  texts: (page, selector) => page.locator(selector).allInnerTexts(),
  evaluate: (page, code) => page.evaluate(code),
  screenshot: (page, path, clip) => page.screenshot({ path, ...(clip ? { clip } : {}) }).then(() => path),
};

console.log(JSON.stringify({ id: 0, value: 'ready' }));
for await (const line of createInterface({ input: process.stdin })) {
  const { id, page, call, args } = JSON.parse(line);
  calls[call](pages[page], ...args).then(
    (value) => console.log(JSON.stringify({ id, value: value ?? null })),
    (error) => console.log(JSON.stringify({ id, error: String(error) })),
  );
}
await browser.close();
