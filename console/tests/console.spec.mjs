/**
 * The console in a real browser against a real server: one story from the first sign-in to the settings, then every
 * screen in both themes and three widths. PALISADE_URL names the server; PALISADE_LINK is a sign-in link that was not
 * used yet, or PALISADE_NAME and PALISADE_PASSWORD sign in; PALISADE_IMG is where pictures go.
 */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { canFill, fill } from './fleet.mjs';
import { assertAccessible, assertFits, launch, link, openPage, password, picture, url } from './stage.mjs';

const id = `pump-${Date.now().toString(36)}`;
const title = 'Kühlwasserpumpe 7, مضخة التبريد 🌊 ' + 'with a name as long as names can be '.repeat(4).trim();

let browser;
let story;
let signedIn;
let emptyFleet = () => {};

before(async () => {
  browser = await launch();
  story = await openPage(browser);
});

after(async () => {
  emptyFleet();
  await browser?.close();
});

test('a stranger is asked to sign in, and a wrong password is refused with words', async () => {
  const { page } = story;
  await page.goto(`${url}/fleet`);
  await page.getByRole('heading', { name: 'Sign in' }).waitFor();
  await assertAccessible(page, 'sign-in');
  await picture(page, 'sign-in');
  await page.getByLabel('Name').fill('nobody');
  await page.getByLabel('Password').fill('not the password');
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.getByRole('alert').waitFor();
  assert.ok(((await page.getByRole('alert').textContent()) ?? '').trim().length > 10);
});

test('a sign-in link sets a password and leads to the fleet', async () => {
  const { page } = story;
  if (link) {
    await page.goto('about:blank');
    await page.goto(link.startsWith('/') ? url + link : link);
    await page.getByLabel('New password').fill('short');
    await assertAccessible(page, 'welcome');
    assert.ok(await page.getByRole('button', { name: 'Set password and go in' }).isDisabled());
    await page.getByLabel('New password').fill(password);
    await page.getByLabel('The same again').fill(password);
    await picture(page, 'welcome');
    await page.getByRole('button', { name: 'Set password and go in' }).click();
  } else {
    await page.getByLabel('Name').fill(process.env.PALISADE_NAME ?? 'admin');
    await page.getByLabel('Password').fill(password);
    await page.getByRole('button', { name: 'Sign in' }).click();
  }
  await page.getByRole('navigation', { name: 'Screens' }).waitFor();
  assert.equal(new URL(page.url()).pathname, '/fleet');
  assert.equal(new URL(page.url()).hash, '');
});

test('an empty fleet teaches what to do first', async (t) => {
  const { page } = story;
  await page.getByRole('heading', { level: 1, name: /device|needs you/ }).waitFor();
  if (!(await page.getByRole('heading', { name: 'No devices yet' }).isVisible())) return t.skip('the fleet has devices');
  await page.getByText('palisade device add').waitFor();
  await assertAccessible(page, 'empty fleet');
  await picture(page, 'fleet-empty');
});

test('adding a device shows its claim once, with the commands to enrol it', async () => {
  const { page } = story;
  await page.getByRole('button', { name: 'Add a device' }).first().click();
  const dialog = page.getByRole('dialog');
  await dialog.getByLabel('Id', { exact: true }).fill('Not An Id');
  await dialog.getByText('Only a–z').waitFor();
  await dialog.getByLabel('Id', { exact: true }).fill(id);
  await dialog.getByLabel('Kind').fill('pump');
  await dialog.getByLabel('Zone', { exact: true }).fill('plant-a');
  const site = dialog.getByLabel('Site of the new zone');
  if (await site.isVisible()) await site.fill('home');
  await dialog.getByLabel('Title').fill(title);
  await assertAccessible(page, 'add a device');
  await dialog.getByRole('button', { name: 'Add and make a claim' }).click();
  await dialog.getByText(`palisade enroll --server ${new URL(url).origin}`).waitFor();
  await dialog.getByText('mosquitto_pub').waitFor();
  await dialog.getByRole('status', { name: 'Progress' }).waitFor();
  const claim = await dialog.getByRole('group', { name: 'claim', exact: true }).textContent();
  assert.ok((claim ?? '').length >= 32, 'a claim of some length');
  await assertAccessible(page, 'claim');
  await picture(page, 'claim');
  await dialog.getByRole('link', { name: 'Open its page' }).click();
  await page.getByRole('heading', { level: 1, name: /Kühlwasserpumpe/ }).waitFor();
  assert.equal(new URL(page.url()).pathname, `/devices/${id}`);
  assert.ok(!(await page.content()).includes(claim ?? '-'), 'the claim is not shown again');
});

test('the device page tells facts and its time line', async () => {
  const { page } = story;
  for (const name of ['Identity', 'Certificate', 'Session', 'Why', 'Time line']) {
    await page.getByRole('heading', { name, exact: true }).waitFor();
  }
  await page.getByRole('listitem').getByText('device.added').first().waitFor();
  await assertAccessible(page, 'device');
  await assertFits(page, 'device');
});

test('why explains a denial before it happens, and the address holds the question', async () => {
  const { page } = story;
  await page.locator('select[name=action]').selectOption('publish');
  await page.getByRole('textbox', { name: 'Topic' }).fill('nowhere/to/be/found');
  await page.getByRole('button', { name: 'Ask' }).click();
  await page.getByRole('region', { name: 'Why' }).getByText(/^Denied/).waitFor();
  assert.equal(new URL(page.url()).searchParams.get('topic'), 'nowhere/to/be/found');
  await assertAccessible(page, 'why');
  await picture(page, 'why');
  await page.reload();
  await page.getByRole('region', { name: 'Why' }).getByText(/^Denied/).waitFor();
});

test('a dangerous deed says what it will do and asks for the name', async () => {
  const { page } = story;
  await page.getByRole('button', { name: 'Quarantine', exact: true }).click();
  const dialog = page.getByRole('dialog');
  await dialog.getByText('One device is cut off').waitFor();
  const deed = dialog.getByRole('button', { name: 'Quarantine' });
  await dialog.getByLabel('Reason').fill('a browser test');
  assert.ok(await deed.isDisabled(), 'not before the name is written');
  await dialog.getByLabel('Write the device').fill(`${id}x`);
  assert.ok(await deed.isDisabled(), 'not with another name');
  await dialog.getByLabel('Write the device').fill(id);
  await assertAccessible(page, 'quarantine dialog');
  await picture(page, 'quarantine');
  await deed.click();
  await dialog.getByText('In quarantine since').waitFor();
  await dialog.getByText(/No session was open|Session closed at/).waitFor();
  await dialog.getByRole('button', { name: 'Close' }).last().click();
  await page.getByText('a browser test').first().waitFor();
});

test('the fleet opens with who needs a person', async () => {
  const { page } = story;
  await page.getByRole('link', { name: 'Fleet' }).first().click();
  await page.getByRole('heading', { level: 1, name: /devices? needs? you/ }).waitFor();
  await page.getByRole('list', { name: 'Devices that need you' }).getByRole('link').first().waitFor();
  await page.getByRole('grid', { name: 'Devices' }).getByText(/Kühlwasserpumpe/).first().waitFor();
  await assertAccessible(page, 'fleet');
  await picture(page, 'fleet');
});

test('a filter stands in the address and can be cleared', async () => {
  const { page } = story;
  await page.keyboard.press('/');
  await page.keyboard.type(id);
  await page.waitForURL((address) => address.searchParams.get('q') === id);
  await page.getByText(/^1 of .* listed$/).waitFor();
  await page.keyboard.press('Escape');
  await page.goto(`${url}/fleet?q=nothing-is-called-this`);
  await page.getByText('No device fits this filter.').waitFor();
  await assertAccessible(page, 'fleet without a match');
});

test('recovering undoes a quarantine', async () => {
  const { page } = story;
  await page.goto(`${url}/devices/${id}`);
  await page.getByRole('button', { name: 'Recover' }).click();
  await page.getByRole('dialog').getByLabel('Reason').fill('the test is over');
  await page.getByRole('dialog').getByRole('button', { name: 'Recover' }).click();
  await page.getByText('Out of quarantine.').waitFor();
  await page.getByRole('dialog').getByRole('button', { name: 'Close' }).last().click();
  await page.getByRole('button', { name: 'Quarantine' }).waitFor();
});

test('events show the record verified by this browser', async () => {
  const { page } = story;
  await page.getByRole('link', { name: 'Events' }).click();
  await page.getByRole('listitem').getByText('device.quarantined').first().waitFor();
  await page.getByText(/signature verified/).waitFor();
  await assertAccessible(page, 'events');
  await picture(page, 'events');
  await page.getByRole('combobox', { name: 'Kind' }).selectOption('device.added');
  await page.waitForURL((address) => address.searchParams.get('kind') === 'device.added');
  await page.getByRole('listitem').getByText('device.added').first().waitFor();
  assert.equal(await page.getByRole('listitem').getByText('device.quarantined').count(), 0);
});

test('the record is held against what this browser remembers', async () => {
  const { page } = story;
  await page.goto(`${url}/events`);
  await page.getByText(/unchanged since this browser's last look/).waitFor();
});

test('a record that was rewritten is told in red, with both checkpoints', async () => {
  const otherRoot = Buffer.alloc(32, 7).toString('base64');
  const state = await story.context.storageState();
  const kept = state.origins.flatMap(({ localStorage }) => localStorage).find(({ name }) => name === 'palisade.record.last');
  assert.ok(kept, 'the browser remembers a checkpoint');
  const remembered = JSON.parse(kept.value);
  const lines = remembered.note.split('\n');
  lines[2] = otherRoot;
  kept.value = JSON.stringify({ ...remembered, note: lines.join('\n') });
  const { context, page, faults } = await openPage(browser, { state });
  await page.goto(`${url}/events`);
  const banner = page.getByRole('alert').filter({ hasText: 'The record has been rewritten' });
  await banner.waitFor();
  await banner.getByText(otherRoot).waitFor();
  await banner.getByText('Offered by the server').waitFor();
  await assertAccessible(page, 'fork');
  await picture(page, 'fork');
  await banner.getByRole('button', { name: 'Put the evidence away' }).click();
  await page.getByRole('dialog').getByRole('textbox').fill('forget');
  await page.getByRole('button', { name: 'Forget and begin anew' }).click();
  await banner.waitFor({ state: 'detached' });
  assert.deepEqual(faults, []);
  await context.close();
});

test('a policy with a mistake is told at its line and cannot be saved', async () => {
  const { page } = story;
  await page.getByRole('link', { name: 'Policy' }).click();
  const source = page.getByRole('textbox', { name: 'Policy source' });
  await source.waitFor();
  const whole = await source.inputValue();
  const n_lines = whole.split('\n').length;
  await source.fill(`${whole}\npermti (principal, action, resource);\n`);
  const problem = page.getByRole('button', { name: /^Line \d+/ });
  await problem.first().waitFor();
  assert.match((await problem.first().textContent()) ?? '', new RegExp(`Line ${n_lines + 1}\\b|Line ${n_lines}\\b`));
  assert.equal(await page.getByRole('button', { name: 'Save' }).getAttribute('aria-disabled'), 'true');
  await assertAccessible(page, 'policy with a mistake');
  await picture(page, 'policy');
  await page.getByRole('button', { name: 'Undo my changes' }).click();
  assert.equal(await source.inputValue(), whole);
});

test('a sound change of the policy is put in force as the next version', async () => {
  const { page } = story;
  const source = page.getByRole('textbox', { name: 'Policy source' });
  const version = Number(/Version (\d+)/.exec((await page.locator('main').textContent()) ?? '')?.[1]);
  await source.fill(`${await source.inputValue()}\n// Seen by the browser tests.\n`);
  await page.getByText('The draft is sound.').waitFor();
  await page.getByRole('button', { name: 'Save' }).click();
  await page.getByRole('button', { name: 'Put in force' }).click();
  await page.getByText(`Version ${version + 1} is in force`).waitFor();
});

test('settings show people, tokens, the authority and the record', async () => {
  const { page } = story;
  await page.getByRole('link', { name: 'Settings' }).click();
  await page.getByRole('button', { name: 'Make a token' }).click();
  const dialog = page.getByRole('dialog');
  await dialog.getByLabel('Name').fill(`browser ${id}`);
  await dialog.getByRole('button', { name: 'Make a token' }).click();
  await dialog.getByText('Shown this once.').waitFor();
  await dialog.getByRole('button', { name: 'Close' }).last().click();
  await page.getByText(`browser ${id}`).first().waitFor();
  await page.getByText('root, SHA-256').waitFor();
  await assertAccessible(page, 'settings');
  await picture(page, 'settings');
});

test('the keyboard alone finds a device, moves in the list and opens it', async () => {
  const { page } = story;
  await page.keyboard.press('Control+k');
  await page.getByRole('combobox', { name: 'Find a device' }).waitFor();
  await page.keyboard.type(id);
  await page.getByRole('option', { name: new RegExp(id) }).first().waitFor();
  await assertAccessible(page, 'palette');
  await picture(page, 'palette');
  await page.keyboard.press('Enter');
  await page.waitForURL(`**/devices/${id}*`);
  await page.getByRole('heading', { level: 1, name: /Kühlwasserpumpe/ }).waitFor();
  await page.keyboard.press('g');
  await page.keyboard.press('f');
  await page.getByRole('grid', { name: 'Devices' }).getByRole('row').nth(1).waitFor();
  await page.keyboard.press('j');
  await page.locator('[role=row][aria-selected=true]').waitFor();
  await page.keyboard.press('Enter');
  await page.waitForURL('**/devices/*');
  await page.keyboard.press('?');
  await page.getByRole('dialog', { name: 'Keys' }).waitFor();
  await assertAccessible(page, 'keys');
  await page.keyboard.press('Escape');
  await page.keyboard.press('Tab');
  assert.ok(await page.evaluate(() => document.activeElement !== document.body), 'the focus goes on');
  signedIn = await story.context.storageState();
});

test('a fleet of real devices fills the screens', { skip: canFill ? false : 'no command line to fill it with' }, async () => {
  emptyFleet = await fill(url);
  const { context, page, faults } = await openPage(browser, { state: signedIn });
  await page.goto(`${url}/fleet`);
  await page.getByRole('heading', { level: 1, name: /2 devices need you|3 devices need you/ }).waitFor();
  await page.getByText('it tried to stop press-2').first().waitFor();
  assert.deepEqual(faults, []);
  await context.close();
});

for (const theme of ['light', 'dark']) {
  for (const [width, height] of [
    [1440, 900],
    [1280, 800],
    [390, 844],
  ]) {
    test(`every screen is accessible and fits in ${theme} at ${width}`, async () => {
      const { context, page, faults } = await openPage(browser, { width, height, theme, state: signedIn });
      const screens = { fleet: '/fleet', device: canFill ? '/devices/cam-gate' : `/devices/${id}`, events: '/events', policy: '/policy', settings: '/settings', nowhere: '/no/such' };
      for (const [name, path] of Object.entries(screens)) {
        await page.goto(url + path);
        await page.getByRole('heading', { level: 1 }).waitFor();
        await page.waitForLoadState('load');
        await page.evaluate(() => document.fonts.ready.then(() => undefined));
        await page.getByText('Loading…').waitFor({ state: 'detached' });
        await page.locator('[aria-busy=true]').waitFor({ state: 'detached' });
        await assertAccessible(page, `${name}, ${theme}, ${width}`);
        await assertFits(page, `${name}, ${theme}, ${width}`);
        if (name !== 'nowhere') await picture(page, `${name}-${width}-${theme}`);
      }
      assert.deepEqual(faults, []);
      await context.close();
    });
  }
}

test('a server that went away is told calmly, and comes back by itself', async () => {
  const { context, page } = await openPage(browser, { state: signedIn });
  await page.goto(`${url}/fleet`);
  await page.getByRole('heading', { level: 1 }).waitFor();
  await page.route('**/v1/**', (route) => route.abort());
  await page.reload({ waitUntil: 'commit' });
  await page.getByRole('heading', { name: 'No answer yet' }).waitFor();
  await assertAccessible(page, 'no answer');
  await page.unroute('**/v1/**');
  await page.getByRole('navigation', { name: 'Screens' }).waitFor({ timeout: 20_000 });
  await context.close();
});

test('a viewer sees deeds disabled, with the reason', async () => {
  const { context, page, faults } = await openPage(browser, { state: signedIn });
  await page.route('**/v1/session', async (route) => {
    const answer = await route.fetch();
    const session = await answer.json();
    session.operator.role = 'viewer';
    await route.fulfill({ response: answer, json: session });
  });
  await page.goto(`${url}/devices/${id}`);
  const deed = page.getByRole('button', { name: 'Retire' });
  await deed.waitFor();
  assert.equal(await deed.getAttribute('aria-disabled'), 'true');
  await page.getByText('You are signed in as a viewer; this needs an operator.').first().waitFor();
  await assertAccessible(page, 'viewer');
  await deed.click({ force: true });
  assert.equal(await page.getByRole('dialog').count(), 0);
  assert.deepEqual(faults, []);
  await context.close();
});

test('signing out ends the session', async () => {
  const { page } = story;
  await page.getByRole('button', { name: 'Sign out' }).first().click();
  await page.getByRole('heading', { name: 'Sign in' }).waitFor();
  await page.goto(`${url}/fleet`);
  await page.getByRole('heading', { name: 'Sign in' }).waitFor();
});

test('in all of the story no policy was violated and nothing failed unseen', () => {
  assert.deepEqual(story.faults, []);
});
