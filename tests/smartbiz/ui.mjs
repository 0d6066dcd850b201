// SmartBiz's page in Chromium, driven by Playwright as people use it: by what stands there, by roles and
// names (which is what a screen reader has), by keys. test_ui.py starts the programs and runs this.
//
//   UI_URL    where smartbiz-ui answers
//   PG_STOP, PG_START   commands that take the database away and bring it back
//   PICTURES  a folder for pictures of the views; none without it
import assert from 'node:assert/strict';
import { execSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { chromium } from 'playwright-core';

const url = process.env.UI_URL;
const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const views = ['#/', '#/articles', '#/low', '#/customers', '#/orders', '#/orders/new'];
const BOUND = 30_000; // for what must come, on a busy machine
let browser;

before(async () => {
  // The sandbox is refused to root.
  const args = process.getuid() === 0 ? ['--no-sandbox'] : [];
  browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args, timeout: 2 * BOUND });
});
after(() => browser?.close());

// A person with a browser of their own, at the overview. What the browser complains of is kept.
async function visit(t, options = {}) {
  const context = await browser.newContext({ locale: 'en-IE', viewport: { width: 1280, height: 900 }, ...options });
  t.after(() => context.close());
  context.setDefaultTimeout(BOUND);
  const page = await context.newPage();
  page.complaints = [];
  page.on('pageerror', (error) => page.complaints.push(String(error)));
  page.on('console', (message) => {
    if (message.type() === 'error' && !/status of 4\d\d/.test(message.text())) page.complaints.push(message.text());
  });
  page.asked = [];
  page.on('request', (request) => page.asked.push(request.url()));
  await page.goto(url);
  await page.getByRole('heading', { level: 1 }).waitFor();
  return page;
}

const sees = (where, text) => where.getByText(text).filter({ visible: true }).first().waitFor();
const press = (where, name, role = 'button') => where.getByRole(role, { name, exact: true }).click();
const fill = (where, label, text) => where.getByLabel(label, { exact: true }).fill(text);
const go = (page, place) => page.evaluate((hash) => { location.hash = hash; }, place);

// Until @read gives @wanted.
async function until(read, wanted, what) {
  const end = Date.now() + BOUND;
  let value;
  do {
    value = await read();
    if (value === wanted) return;
    await new Promise((resolve) => { setTimeout(resolve, 50); });
  } while (Date.now() < end);
  assert.equal(value, wanted, what);
}

async function api(method, path, body, headers = {}) {
  const reply = await fetch(`${url}api${path}`, { method, body: body && JSON.stringify(body),
    headers: { 'Content-Type': 'application/json', ...headers } });
  const text = await reply.text();
  assert.ok(reply.ok, `${method} ${path}: ${reply.status} ${text}`);
  return text ? JSON.parse(text) : null;
}

const stockOf = (page, name) => page.getByRole('group', { name: `Stock of ${name}` }).locator('output').innerText();

// In a field that searches while one types: by the keyboard.
async function pick(page, label, text, at = 0) {
  const box = page.getByRole('combobox', { name: label }).nth(at);
  await box.click();
  await box.fill('');
  await box.pressSequentially(text);
  await page.getByRole('option', { name: text, selected: true }).waitFor();
  await box.press('Enter');
  assert.equal(await box.getAttribute('aria-expanded'), 'false');
}

test('a working day', async (t) => {
  const page = await visit(t);
  const nav = page.getByRole('navigation');
  const main = page.getByRole('main');
  const dialog = page.getByRole('dialog');

  await t.test('an article, with a mistake at first', async () => {
    await press(nav, 'Articles', 'link');
    await press(main, 'New article');
    await fill(dialog, 'Name', 'Kaffeemühle');
    await fill(dialog, 'Price', 'abc');
    await press(dialog, 'Save');
    await sees(dialog, /must be a price like/);
    assert.equal(await dialog.getByLabel('Price', { exact: true }).getAttribute('aria-invalid'), 'true');
    await fill(dialog, 'Price', '49,90');
    await fill(dialog, 'Number', 'KM-1');
    await fill(dialog, 'Minimum stock', '2');
    await fill(dialog, 'Stock', '5');
    await press(dialog, 'Save');
    await dialog.waitFor({ state: 'hidden' });
    const row = page.getByRole('row', { name: 'Kaffeemühle' });
    await sees(row, '€49.90');
    // The same number again is told in plain words, at its field.
    await press(main, 'New article');
    await fill(dialog, 'Name', 'Other');
    await fill(dialog, 'Number', 'KM-1');
    await fill(dialog, 'Price', '1');
    await press(dialog, 'Save');
    await sees(dialog, 'Another article has this number.');
    await press(dialog, 'Close');
  });

  await t.test('its stock by the buttons', async () => {
    for (const [button, stock] of [['+10', '15'], ['−1', '14'], ['−10', '4'], ['+1', '5']]) {
      await press(main, `Kaffeemühle: ${button}`);
      await until(() => stockOf(page, 'Kaffeemühle'), stock, button);
      assert.equal(await page.evaluate(() => document.activeElement.textContent), button, 'the button keeps the focus');
    }
    await press(main, 'Kaffeemühle: −10');
    await sees(page.getByRole('alert'), 'There are 5 in stock');
    assert.equal(await stockOf(page, 'Kaffeemühle'), '5');
  });

  await t.test('a customer', async () => {
    await press(nav, 'Customers', 'link');
    await press(main, 'New customer');
    await fill(dialog, 'Name', 'Café Süd');
    await fill(dialog, 'E-mail', 'nonsense');
    await press(dialog, 'Save');
    await sees(dialog, /must have the form/);
    await fill(dialog, 'E-mail', 'sued@example.com');
    await press(dialog, 'Save');
    await page.getByRole('row', { name: 'Café Süd' }).waitFor();
  });

  await t.test('an order: nothing chosen, more than there is, then all of it', async () => {
    await press(nav, 'Orders', 'link');
    await press(main, 'New order', 'link');
    await press(main, 'Place order');
    await sees(main, 'Choose a customer.');
    await pick(page, 'Customer', 'Café');
    await pick(page, 'Article', 'Kaffee');
    await sees(main, '5 in stock');
    await fill(main, 'Quantity', '6');
    await sees(main, 'Only 5 in stock');
    await press(main, 'Place order');
    await sees(page.getByRole('alert'), 'There is not enough of KM-1: 5 left.');
    await fill(main, 'Quantity', '5');
    await sees(main, '€249.50');
    await press(main, 'Place order');
    await page.getByRole('heading', { name: 'Order 1' }).waitFor();
    await sees(main, 'Confirmed');
  });

  await t.test('what ran out is shown where one looks for it', async () => {
    await press(nav, 'Low stock 1', 'link');
    await page.getByRole('row', { name: 'Kaffeemühle' }).waitFor();
    assert.equal(await stockOf(page, 'Kaffeemühle'), '0');
  });

  await t.test('the order is cancelled and the stock is back', async () => {
    await go(page, '#/orders/1');
    await press(main, 'Cancel order');
    await press(dialog, 'No');
    await press(main, 'Cancel order');
    await press(dialog, 'Yes');
    await page.locator('.chip', { hasText: 'Cancelled' }).waitFor();
    await press(nav, 'Articles', 'link');
    await until(() => stockOf(page, 'Kaffeemühle'), '5', 'the stock');
    await press(main, 'History: Kaffeemühle');
    await sees(dialog, 'Order 1');
    await press(dialog, 'Close');
  });

  await t.test('a draft is rewritten, confirmed and shipped', async () => {
    await go(page, '#/orders/new');
    await page.getByRole('heading', { name: 'New order' }).waitFor();
    await pick(page, 'Customer', 'Café');
    await pick(page, 'Article', 'Kaffee');
    await press(main, 'Save as draft');
    await page.locator('.chip', { hasText: 'Draft' }).waitFor();
    await press(main, 'Edit draft', 'link');
    await sees(main, '5 in stock');
    await fill(main, 'Quantity', '2');
    await press(main, 'Place order');
    await page.locator('.chip', { hasText: 'Confirmed' }).waitFor();
    await press(main, 'Mark as shipped');
    await page.locator('.chip', { hasText: 'Shipped' }).waitFor();
  });

  await t.test('a file with a mistake, then without', async () => {
    await press(nav, 'Articles', 'link');
    await press(main, 'Import CSV');
    const file = (text) => ({ name: 'articles.csv', mimeType: 'text/csv', buffer: Buffer.from(text) });
    await dialog.getByLabel('CSV file').setInputFiles(file('sku;name;price;stock\nKM-1;;;7\nNEW-1;Filter;x;100\n'));
    await sees(dialog, /1 mistake/);
    assert.ok(await dialog.getByRole('button', { name: 'Import now' }).isDisabled());
    await dialog.getByLabel('CSV file').setInputFiles(file('sku;name;price;stock\nKM-1;;;7\nNEW-1;Filter;2,50;100\n'));
    await sees(dialog, '2 rows: 1 new, 1 changed');
    await press(dialog, 'Import now');
    await until(() => stockOf(page, 'Filter'), '100', 'what was imported');
  });

  await t.test('what the day was', async () => {
    await press(nav, 'Overview', 'link');
    await page.getByRole('link', { name: '€99.80 Revenue' }).waitFor();
    await sees(page.getByRole('list'), 'Kaffeemühle');
    for (const [sku, stock] of [['KM-1', 7], ['NEW-1', 100]]) {
      const article = (await api('GET', `/articles?q=${sku}`)).items[0];
      const { items } = await api('GET', `/articles/${article.id}/movements`);
      assert.equal(article.stock, stock);
      assert.equal(items.reduce((sum, one) => sum + one.change, 0), stock);
    }
  });
  assert.deepEqual(page.complaints, []);
});

test('two people at one article', async (t) => {
  const article = await api('POST', '/articles', { name: 'Waage', price_cents: 100, sku: 'WAAGE-9' });
  const page = await visit(t);
  await go(page, '#/articles');
  await fill(page.getByRole('main'), 'Search', 'Waage');
  await press(page.getByRole('main'), 'Waage');
  const dialog = page.getByRole('dialog', { name: 'Edit Waage' });
  await dialog.waitFor();
  await api('PATCH', `/articles/${article.id}`, { price_cents: 200 });
  await fill(dialog, 'Price', '3');
  await press(dialog, 'Save');
  await sees(dialog, /Somebody else has changed this meanwhile/);
});

test('by the keyboard alone', async (t) => {
  const page = await visit(t);
  const focused = () => page.evaluate(() => document.activeElement.textContent.trim().slice(0, 40));
  await page.keyboard.press('Tab');
  assert.equal(await focused(), 'Skip to the content');
  await page.keyboard.press('Enter');
  assert.equal(await page.evaluate(() => document.activeElement.id), 'main', 'the link that skips');
  assert.match(await page.evaluate(() => location.hash), /^(#\/)?$/);
  await go(page, '#/articles');
  await page.getByRole('heading', { name: 'Articles' }).waitFor();
  await until(focused, 'Articles', 'the heading of a new view has the focus');
  await page.keyboard.press('/');
  assert.ok(await page.getByRole('searchbox', { name: 'Search' }).evaluate((one) => one === document.activeElement));
  await page.keyboard.press('Escape');
  await page.getByRole('searchbox').blur();
  await page.keyboard.press('n');
  const dialog = page.getByRole('dialog', { name: 'New article' });
  await dialog.waitFor();
  assert.ok(await dialog.evaluate((one) => one.contains(document.activeElement)), 'the focus is in the dialog');
  await page.keyboard.press('Escape');
  await dialog.waitFor({ state: 'hidden' });
  await until(focused, 'New article', 'the focus is back where it was');
  // Wherever the focus goes, it is seen.
  for (let i = 0; i < 12; i += 1) {
    await page.keyboard.press('Tab');
    const style = await page.evaluate(() => {
      const one = getComputedStyle(document.activeElement);
      return document.activeElement === document.body ? 'solid 3px' : `${one.outlineStyle} ${one.outlineWidth}`;
    });
    assert.equal(style, 'solid 3px', await focused());
  }
});

test('language and appearance', async (t) => {
  const page = await visit(t);
  const ground = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  const light = await ground();
  await press(page.getByRole('banner'), 'Settings');
  await page.getByLabel('Appearance').selectOption('dark');
  assert.notEqual(await ground(), light);
  await page.getByLabel('Language').selectOption('de');
  await page.getByRole('heading', { name: 'Übersicht', level: 1 }).waitFor();
  assert.equal(await page.evaluate(() => document.documentElement.lang), 'de');
  await page.goto(`${url}#/orders/new`);
  await page.reload();
  await page.getByRole('heading', { name: 'Neue Bestellung' }).waitFor();
  const german = await visit(t, { locale: 'de-AT' });
  await german.getByRole('heading', { name: 'Übersicht' }).waitFor();
  // What the API says is German too.
  await go(german, '#/customers');
  await press(german.getByRole('main'), 'Neuer Kunde');
  await fill(german.getByRole('dialog'), 'Name', 'x');
  await fill(german.getByRole('dialog'), 'E-Mail', 'y');
  await press(german.getByRole('dialog'), 'Speichern');
  await sees(german.getByRole('dialog'), 'E-Mail: hat 1 Zeichen; erwartet werden 3 bis 254');
  await fill(german.getByRole('dialog'), 'E-Mail', 'yyy');
  await press(german.getByRole('dialog'), 'Speichern');
  await sees(german.getByRole('dialog'), 'E-Mail: muss die Form name@domain haben');
});

test('every view fits, can be read and be heard', async (t) => {
  await api('POST', '/articles', { name: 'Ein sehr langer Name '.repeat(6), price_cents: 999999999, stock: 1, min_stock: 5, sku: `LONG-${'X'.repeat(50)}` });
  await api('POST', '/customers', { name: 'N'.repeat(120), email: `${'n'.repeat(60)}@${'example.'.repeat(10)}com` });
  for (const [colorScheme, locale] of [['light', 'en-IE'], ['dark', 'de-DE']]) {
    const page = await visit(t, { colorScheme, locale });
    await page.evaluate(axe);
    for (const view of [...views, '#/orders/1', 'dialog']) {
      if (view === 'dialog') {
        await go(page, '#/articles');
        await page.locator('[data-key=n]:not([href])').click();
        await page.getByRole('dialog').waitFor();
      } else {
        await go(page, view);
      }
      await page.waitForFunction(() => !document.querySelector('#main[aria-busy], .busy') && document.querySelector('h1'));
      for (const width of [360, 768, 1280]) {
        await page.setViewportSize({ width, height: 800 });
        const wide = await page.evaluate(() => [document.documentElement.scrollWidth, document.getElementById('nav').scrollWidth - document.getElementById('nav').clientWidth]);
        assert.ok(wide[0] <= width && wide[1] <= 0, `${view} at ${width}: ${wide}`);
        if (process.env.PICTURES)
          await page.screenshot({ path: join(process.env.PICTURES, `${view.replace(/\W+/g, '-')}-${colorScheme}-${width}.png`) });
        if (width === 768) continue;
        const { violations } = await page.evaluate(() => axe.run(document, { resultTypes: ['violations'] }));
        assert.deepEqual(violations.map(({ id, nodes }) => [id, nodes.map((node) => node.html)]), [], `${view} at ${width}, ${colorScheme}`);
      }
    }
    assert.deepEqual(page.complaints, []);
  }
});

test('nothing comes from elsewhere and texts stay texts', async (t) => {
  const evil = '<img src=x onerror="document.title=\'pwned\'">';
  await api('POST', '/articles', { name: evil, price_cents: 1, description: evil });
  const page = await visit(t);
  await go(page, '#/articles');
  await fill(page.getByRole('main'), 'Search', 'onerror');
  await sees(page.getByRole('table'), evil);
  assert.equal(await page.locator('main img').count(), 0);
  assert.deepEqual(page.asked.filter((one) => !one.startsWith(url)), []);
  await page.evaluate(() => { document.body.append(Object.assign(document.createElement('script'), { textContent: 'window.ran = 1' })); });
  assert.equal(await page.evaluate(() => window.ran), undefined);
});

test('a database that is away is told, and comes back', async (t) => {
  const page = await visit(t);
  execSync(process.env.PG_STOP);
  try {
    await go(page, '#/orders');
    await sees(page.getByRole('alert'), 'The database is not reachable at the moment.');
  } finally {
    execSync(process.env.PG_START);
  }
  await until(async () => (await fetch(`${url}api/ready`)).status, 200, 'the API is ready again');
  await press(page.getByRole('main'), 'Show again');
  await page.getByRole('table').waitFor();
});
