/** What the browser tests stand on: a browser, a page that tells of every fault, and axe. */
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { chromium } from 'playwright-core';

/** The server, and how to come in: a first sign-in link, or a name and a password. */
export const url = process.env.PALISADE_URL ?? 'https://127.0.0.1:8443';
export const link = process.env.PALISADE_LINK ?? null;
export const password = process.env.PALISADE_PASSWORD ?? 'a gate of seven words stands';
const pictures = process.env.PALISADE_IMG ?? null;

/** Answers that a test provokes, so that the browser's word on them is no fault. */
const PROVOKED = /^Failed to load resource: the server responded with a status of (401|404|409|422|400)/;

export async function launch() {
  return chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: [
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
    ],
  });
}

/** A page in a context of its own; `faults` gathers console errors, page errors and CSP violations. */
export async function openPage(browser, { width = 1280, height = 800, theme = 'light', state = undefined } = {}) {
  const context = await browser.newContext({
    ignoreHTTPSErrors: true,
    viewport: { width, height },
    colorScheme: theme,
    ...(state ? { storageState: { ...state, cookies: [] } } : {}),
  });
  // Set by address: a cookie whose name begins with `__Host-` may not name a domain.
  const cookies = state?.cookies ?? [];
  await context.addCookies(cookies.map(({ domain: _domain, path: _path, ...cookie }) => ({ ...cookie, url })));
  const page = await context.newPage();
  const faults = [];
  page.on('console', (message) => {
    const provoked = PROVOKED.test(message.text());
    if (['error', 'warning'].includes(message.type()) && !provoked) faults.push(`${page.url()}: ${message.text()}`);
  });
  page.on('pageerror', (error) => faults.push(`${page.url()}: ${error.message}`));
  await page.addInitScript(() => {
    addEventListener('securitypolicyviolation', (event) => {
      console.error(`CSP: ${event.violatedDirective} ${event.blockedURI} ${event.sourceFile}:${event.lineNumber}`);
    });
  });
  page.setDefaultTimeout(10_000);
  return { context, page, faults };
}

/** Fails with every rule of axe that the page breaks as it stands. */
export async function assertAccessible(page, what) {
  await page.evaluate(axe);
  await page.evaluate(() => Promise.allSettled(document.getAnimations().map((motion) => motion.finished)).then(() => undefined));
  const broken = await page.evaluate(async () => {
    const answer = await globalThis.axe.run(document, {
      runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'],
    });
    return answer.violations.map(
      ({ id, help, nodes }) => `${id}: ${help}\n    ${nodes.map(({ html, failureSummary }) => `${html.slice(0, 200)} ${failureSummary}`).join('\n    ')}`,
    );
  });
  assert.deepEqual(broken, [], `axe on ${what}`);
}

/** The page must not be wider than its window. */
export async function assertFits(page, what) {
  const over = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  assert.ok(over <= 0, `${what} is ${over} px wider than its window`);
}

export async function picture(page, name) {
  if (!pictures) return;
  mkdirSync(pictures, { recursive: true });
  await page.screenshot({ path: path.join(pictures, `${name}.png`), animations: 'disabled' });
}

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
