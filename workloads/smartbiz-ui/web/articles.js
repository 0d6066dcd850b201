// Articles, their stock, and the file that they come from.
import { t, money, cents, priceText, whole, moment, signed, has, sentence } from './text.js';
import { call, get, query, Problem } from './api.js';
import { h, field, select, formDialog, pagedTable, later, stockButtons, say, ask, dialog, busy, complain } from './parts.js';
import { changed } from './app.js';

const priceField = (article) => field(t('price'), h('input', { inputmode: 'decimal', value: article ? priceText(article.price_cents) : '' }), { name: 'price' });

function readPrice(box) {
  const value = cents(box.input.value);
  if (value === null) throw new Problem(422, { field: 'price_cents', detail: t('priceBad') });
  return value;
}

async function edit(id, done) {
  const { value: article, tag } = id ? await call('GET', `/articles/${id}`) : { value: null };
  const fields = {
    name: field(t('name'), h('input', { maxlength: 200, value: article ? article.name : '' }), { wide: true, name: 'name' }),
    sku: field(t('sku'), h('input', { maxlength: 64, value: article ? article.sku : '' }), { hint: article ? '' : t('skuHint'), name: 'sku' }),
    price_cents: priceField(article),
    currency: field(t('currency'), h('input', { maxlength: 3, value: article ? article.currency : 'EUR' }), { name: 'currency' }),
    min_stock: field(t('minStock'), h('input', { type: 'number', min: 0, value: article ? article.min_stock : 0 }), { name: 'min_stock' }),
  };
  if (!article) fields.stock = field(t('initialStock'), h('input', { type: 'number', min: 0, value: 0 }), { name: 'stock' });
  fields.description = field(t('description'), h('textarea', { maxlength: 2000, value: article ? article.description : '' }), { wide: true, name: 'description' });
  const save = async () => {
    const body = {
      name: fields.name.input.value.trim(), price_cents: readPrice(fields.price_cents), currency: fields.currency.input.value.trim().toUpperCase(),
      min_stock: Number(fields.min_stock.input.value), description: fields.description.input.value,
    };
    if (fields.sku.input.value.trim()) body.sku = fields.sku.input.value.trim();
    if (!article) body.stock = Number(fields.stock.input.value);
    await (article ? call('PUT', `/articles/${id}`, { body, tag }) : call('POST', '/articles', { body }));
    say(t('saved', { name: body.name }));
    done();
  };
  const remove = article && (async (box) => {
    if (!await ask(t('removeAsk', { name: article.name }))) return;
    try {
      await call('DELETE', `/articles/${id}`, { tag });
      box.close();
      say(t('removed', { name: article.name }));
      done();
    } catch (problem) {
      complain(problem);
    }
  });
  formDialog(article ? t('edit', { name: article.name }) : t('newArticle'), fields, save, { remove });
}

async function movements(article) {
  const { items } = await get(`/articles/${article.id}/movements?limit=50`);
  dialog(`${t('movements')}: ${article.name}`, (box) => {
    box.append(h('table', {}, h('thead', {}, h('tr', {}, h('th', {}, t('when')), h('th', { class: 'number' }, t('change')),
      h('th', { class: 'number' }, t('after')), h('th', {}, t('reason')))),
    h('tbody', {}, items.map((m) => h('tr', {}, h('td', {}, moment(m.at), h('span', { class: 'sub' }, m.actor)), h('td', { class: 'number' }, signed(m.change)),
      h('td', { class: 'number' }, whole(m.balance)),
      h('td', {}, m.order_id ? h('a', { href: `#/orders/${m.order_id}`, onclick: () => box.close() }, t('order', { id: m.order_id })) : t(m.reason),
        m.reason === 'cancel' ? ` (${t('cancelled')})` : '', m.note ? h('span', { class: 'sub' }, m.note) : '')))),
    ), h('div', { class: 'actions' }, h('button', { class: 'main', onclick: () => box.close() }, t('close'))));
  });
}

function row(article, reload) {
  const open = h('button', { class: 'link', onclick: () => busy(open, () => edit(article.id, reload)) }, article.name);
  const past = h('button', { class: 'plain', 'aria-label': `${t('history')}: ${article.name}`, onclick: () => busy(past, () => movements(article)) }, t('history'));
  return h('tr', {}, h('td', {}, open, h('span', { class: 'sub' }, article.sku)),
    h('td', { class: 'number' }, money(article.price_cents, article.currency)),
    h('td', { class: 'full' }, stockButtons(article, changed)),
    h('td', { class: 'number least' }, h('span', { class: 'when-narrow' }, t('minStock'), ' '), whole(article.min_stock)), h('td', { class: 'number' }, past));
}

function importDialog(done) {
  dialog(t('importCsv'), (box) => {
    const input = h('input', { type: 'file', accept: '.csv,text/csv' });
    const result = h('div', { 'aria-live': 'polite' });
    const go = h('button', { class: 'main', disabled: true }, t('importNow'));
    let text = '';
    const mistakes = (errors, count) => [h('p', { class: 'note bad' }, t('importErrors', { n: count })),
      h('table', {}, h('thead', {}, h('tr', {}, h('th', {}, t('line')), h('th', {}, t('what')))),
        h('tbody', {}, errors.map((e) => h('tr', {}, h('td', { class: 'number' }, String(e.line)), h('td', {}, e.field ? `${has(e.field) ? t(e.field) : e.field}: ` : '', sentence(e.detail))))))];
    const attempt = async (dry) => {
      try {
        const { value } = await call('POST', `/articles/import?dry_run=${dry}`, { csv: text });
        if (value.error_count > 0) result.replaceChildren(...mistakes(value.errors, value.error_count));
        else result.replaceChildren(h('p', { class: 'note good' }, t('tried', value)));
        return value;
      } catch (problem) {
        if (!(problem instanceof Problem)) throw problem;
        result.replaceChildren(...(problem.body.errors ? mistakes(problem.body.errors, problem.body.error_count)
          : [h('p', { class: 'note bad' }, problem.words)]));
        return { error_count: 1 };
      }
    };
    input.addEventListener('click', () => { input.value = ''; }); // the same file, corrected, is news too
    input.addEventListener('change', async () => {
      go.disabled = true;
      if (!input.files[0]) return;
      text = await input.files[0].text();
      go.disabled = (await attempt(true)).error_count > 0;
    });
    go.addEventListener('click', () => busy(go, async () => {
      const value = await attempt(false);
      if (value.error_count > 0) return;
      box.close();
      say(t('imported', value));
      done();
    }));
    box.append(field(t('file'), input, { hint: t('fileHint') }), h('div', { class: 'gap' }, result),
      h('div', { class: 'actions' }, h('button', { onclick: () => box.close() }, t('close')), go));
  });
}

export function articlesView(main, lowOnly) {
  const search = h('input', { type: 'search', class: 'search', maxlength: 200 });
  const order = select([['name', t('byName')], ['sku', t('bySku')], ['price', t('byPrice')], ['-price', t('byPriceDown')], ['stock', t('byStock')], ['-id', t('newest')]],
    lowOnly ? 'stock' : 'name');
  const table = pagedTable([[t('article')], [t('price'), 'number'], [t('inStock')], [t('minStock'), 'number'], [t('history'), 'number']],
    (after) => get((lowOnly ? '/low-stock' : '/articles') + query({ q: search.value.trim(), sort: order.value, after })),
    (article) => row(article, reload), lowOnly ? t('lowStockNone') : t('nothingFound'));
  function reload() {
    changed();
    return table.reload();
  }
  search.addEventListener('input', later(table.reload));
  order.addEventListener('change', table.reload);
  const add = h('button', { class: 'main', 'data-key': 'n', onclick: () => busy(add, () => edit(null, reload)) }, t('newArticle'));
  main.append(
    h('div', { class: 'head' }, h('h1', { tabindex: -1 }, lowOnly ? t('low') : t('articles')),
      lowOnly ? null : [h('a', { class: 'button', href: 'api/export/articles.csv', download: 'articles.csv' }, t('exportCsv')),
        h('button', { onclick: () => importDialog(reload) }, t('importCsv')), add]),
    h('div', { class: 'bar' }, field(t('search'), search), Object.assign(field(t('sort'), order), { className: 'field narrow' })), table);
  return table.reload();
}
