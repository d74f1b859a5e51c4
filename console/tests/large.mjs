/**
 * The fleet's screen over a large fleet: how long until its first rows are there, until its end is, until a filter holds,
 * and how long a frame takes at most while it is scrolled. Needs PALISADE_URL and PALISADE_LINK.
 */
import assert from 'node:assert/strict';
import { launch, link, openPage, password, url } from './stage.mjs';

const browser = await launch();
try {
  const { page, faults } = await openPage(browser);
  await page.goto(link.startsWith('/') ? url + link : link);
  await page.getByLabel('New password').fill(password);
  await page.getByLabel('The same again').fill(password);
  await page.getByRole('button', { name: 'Set password and go in' }).click();
  await page.getByRole('navigation', { name: 'Screens' }).waitFor();

  const first = [];
  for (let run = 0; run < 10; run += 1) {
    const begun = performance.now();
    await page.goto(`${url}/fleet`, { waitUntil: 'commit' });
    await page.locator('#row-0 a').waitFor();
    first.push(performance.now() - begun);
  }
  say('address to first rows', first);
  const total = Number(await page.getByRole('grid', { name: 'Devices' }).getAttribute('aria-rowcount')) - 1;

  const end = [];
  for (let run = 0; run < 10; run += 1) {
    await page.evaluate(() => scrollTo(0, 0));
    await page.locator('#row-0 a').waitFor();
    const begun = performance.now();
    await page.evaluate(() => scrollTo(0, document.documentElement.scrollHeight));
    await page.locator(`#row-${total - 1} a`).waitFor();
    end.push(performance.now() - begun);
  }
  say(`jump to row ${total}`, end);

  say('frames while scrolling', await page.evaluate(scrollThrough));

  const typed = [];
  for (const [run, text] of ['00017', 'pump-0', 'zone-07', '9999', 'meter-05'].entries()) {
    await page.evaluate(() => scrollTo(0, 0));
    const field = page.getByLabel('Filter by name or id');
    await field.fill('');
    await settled(page, (count) => count === total);
    await field.pressSequentially(text, { delay: 60 });
    const begun = performance.now();
    await settled(page, (count) => count < total);
    typed.push(performance.now() - begun);
    assert.ok((await page.locator('#row-0').textContent()).includes(text), `${run}: the first row is none of ${text}`);
  }
  say('last key to filtered rows', typed);
  assert.deepEqual(faults, []);
} finally {
  await browser.close();
}

/** Waits until the table shows what was asked for, and so many rows. */
async function settled(page, wanted) {
  for (;;) {
    const grid = page.getByRole('grid', { name: 'Devices' });
    const [busy, count] = [await grid.getAttribute('aria-busy'), Number(await grid.getAttribute('aria-rowcount')) - 1];
    if (busy === 'false' && wanted(count) && (count === 0 || (await page.locator('#row-0 a').count()) === 1)) return;
  }
}

/** Scrolls a screen a frame for five seconds; answers how long each frame took. */
async function scrollThrough() {
  const frames = [];
  scrollTo(0, 0);
  let last = performance.now();
  const ends = last + 5_000;
  while (last < ends) {
    scrollBy(0, innerHeight);
    const now = await new Promise(requestAnimationFrame);
    frames.push(now - last);
    last = now;
  }
  return frames;
}

function say(what, times) {
  const sorted = [...times].sort((one, other) => one - other);
  const at = (share) => sorted[Math.min(sorted.length - 1, Math.ceil(sorted.length * share) - 1)].toFixed(0);
  console.log(`console, ${what}: n ${times.length}, p50 ${at(0.5)} ms, p99 ${at(0.99)} ms, worst ${at(1)} ms`);
}
