// Orders: the list, one of them, and the form, which shows what is in stock while one types.
import { t, money, whole, moment } from './text.js';
import { call, get, query, Problem } from './api.js';
import { h, field, select, pagedTable, later, picker, say, ask, busy, complain } from './parts.js';
import { changed, go } from './app.js';

const LIVE_MS = 4000; // between two looks at the stock of the articles in the form
const chip = (status) => h('span', { class: `chip ${status}` }, t(status));

export function ordersView(main, values) {
  const search = h('input', { type: 'search', class: 'search', maxlength: 200 });
  const states = ['draft', 'confirmed', 'shipped', 'cancelled'];
  const status = select([['', t('all')], ...states.map((one) => [one, t(one)])], values.get('status') || '');
  const order = select([['-id', t('newest')], ['id', t('oldest')], ['-total', t('byTotal')]], '-id');
  const table = pagedTable([[t('order', { id: '' })], [t('customer')], [t('status')], [t('total'), 'number']],
    (after) => get('/orders' + query({ q: search.value.trim(), sort: order.value, status: status.value, customer_id: values.get('customer'), after })),
    (one) => h('tr', {}, h('td', {}, h('a', { href: `#/orders/${one.id}` }, t('order', { id: one.id })), h('span', { class: 'sub' }, moment(one.created_at))),
      h('td', { class: 'full' }, one.customer_name), h('td', {}, chip(one.status)), h('td', { class: 'number' }, money(one.total_cents, one.currency))), t('nothingFound'));
  search.addEventListener('input', later(table.reload));
  [order, status].forEach((one) => one.addEventListener('change', table.reload));
  const narrow = (box) => Object.assign(box, { className: 'field narrow' });
  main.append(
    h('div', { class: 'head' }, h('h1', { tabindex: -1 }, t('orders')),
      h('a', { class: 'button', href: 'api/export/orders.csv', download: 'orders.csv' }, t('exportCsv')),
      h('a', { class: 'button main', 'data-key': 'n', href: '#/orders/new' }, t('newOrder'))),
    h('div', { class: 'bar' }, field(t('search'), search), narrow(field(t('status'), status)), narrow(field(t('sort'), order))), table);
  return table.reload();
}

function lineRow(line, currency) {
  return h('tr', {}, h('td', { class: 'full' }, line.name, h('span', { class: 'sub' }, line.sku)),
    h('td', { class: 'number' }, `${whole(line.quantity)} × ${money(line.unit_price_cents, currency)}`),
    h('td', { class: 'number' }, money(line.quantity * line.unit_price_cents, currency)));
}

function trail(items) {
  return h('table', { class: 'wide' }, h('thead', {}, h('tr', {}, h('th', {}, t('when')), h('th', {}, t('who')), h('th', {}, t('what')))),
    h('tbody', {}, items.map((one) => h('tr', {}, h('td', {}, moment(one.at)), h('td', {}, one.actor), h('td', { class: 'full' }, t(one.action))))));
}

export async function orderView(main, id) {
  const [{ value: order, tag }, past] = await Promise.all([call('GET', `/orders/${id}`), get(`/audit?entity=order&entity_id=${id}&limit=50`)]);
  const act = (verb, kind, question) => {
    const button = h('button', { class: kind, onclick: () => busy(button, async () => {
      if (question && !await ask(question)) return;
      const { value } = await call('POST', `/orders/${id}/${verb}`, { tag });
      say(t('statusNow', { id, status: t(value.status) }));
      changed();
      go();
    }) }, t(verb));
    return button;
  };
  const draft = order.status === 'draft';
  main.append(
    h('div', { class: 'head' }, h('h1', { tabindex: -1 }, t('order', { id }), ' '), chip(order.status)),
    h('div', { class: 'card' },
      h('p', {}, h('b', {}, order.customer_name), h('br'), moment(order.created_at)),
      order.note ? h('p', { class: 'note good' }, order.note) : null,
      h('table', { class: 'wide' }, h('thead', {}, h('tr', {}, h('th', {}, t('article')), h('th', { class: 'number' }, t('quantity')), h('th', { class: 'number' }, t('total')))),
        h('tbody', {}, order.lines.map((line) => lineRow(line, order.currency)))),
      h('div', { class: 'total' }, h('span', {}, t('total')), h('span', {}, money(order.total_cents, order.currency))),
      h('div', { class: 'actions' },
        order.status === 'cancelled' ? null : act('cancel', 'danger', t('cancelAsk')),
        draft ? h('a', { class: 'button', href: `#/orders/${id}/edit` }, t('editDraft')) : null,
        draft ? act('confirm', 'main') : null, order.status === 'confirmed' ? act('ship', 'main') : null)),
    h('h2', { class: 'space' }, t('history')), h('div', { class: 'card flush' }, trail(past.items)));
}

// One line of the form.
function orderLine(changedLine, removed) {
  const stock = h('span', { class: 'hint', 'aria-live': 'polite' });
  const sum = h('div', { class: 'sum' });
  const quantity = h('input', { type: 'number', min: 1, max: 1000000, value: 1 });
  const article = picker({
    search: (text) => get('/articles' + query({ q: text.trim(), limit: 20, sort: 'name' })),
    label: (one) => one.name, extra: (one) => t('available', { n: whole(one.stock) }), chosen: () => { paint(); changedLine(); },
  });
  const articleField = field(t('article'), article.input, { around: article });
  articleField.classList.add('picker-field');
  article.after(stock);
  const quantityField = field(t('quantity'), quantity);
  const line = h('div', { class: 'line' }, articleField, quantityField, sum,
    h('button', { class: 'plain remove', type: 'button', 'aria-label': t('removeLine'), onclick: () => { line.remove(); removed(line); } }, '✕'));
  function paint() {
    const one = article.item;
    const n = Number(quantity.value);
    const few = one && n > one.stock;
    stock.textContent = one ? t('available', { n: whole(one.stock) }) : '';
    quantityField.wrongSoftly(few ? t('tooFew', { n: whole(one.stock) }) : '');
    sum.textContent = one ? money(one.price_cents * n, one.currency) : '';
  }
  quantityField.wrongSoftly = (text) => {
    quantityField.querySelector('.error').textContent = text;
    quantity.setAttribute('aria-invalid', text ? 'true' : 'false');
  };
  quantity.addEventListener('input', () => { paint(); changedLine(); });
  Object.assign(line, { article, articleField, quantityField, quantity, paint });
  return line;
}

export async function orderForm(main, id) {
  const old = id ? await call('GET', `/orders/${id}`) : null;
  const lines = h('div');
  const total = h('span');
  const note = h('textarea', { maxlength: 500, value: old ? old.value.note : '' });
  const customer = picker({ search: (text) => get('/customers' + query({ q: text.trim(), limit: 20, sort: 'name' })),
    label: (one) => one.name, extra: (one) => one.email || '', chosen: () => customerField.wrong('') });
  const customerField = field(t('customer'), customer.input, { wide: true, around: customer });
  const trouble = h('p', { class: 'error', role: 'alert' });
  const all = () => [...lines.children];
  const paintTotal = () => {
    const chosen = all().filter((line) => line.article.item);
    total.textContent = chosen.length === 0 ? '–'
      : money(chosen.reduce((sum, line) => sum + line.article.item.price_cents * Number(line.quantity.value), 0), chosen[0].article.item.currency);
  };
  const addLine = () => {
    const line = orderLine(paintTotal, paintTotal);
    lines.append(line);
    paintTotal();
    return line;
  };
  const read = () => {
    if (!customer.item) {
      customerField.wrong(t('chooseCustomer'));
      return null;
    }
    const missing = all().find((line) => !line.article.item);
    if (missing || all().length === 0) {
      if (missing) missing.articleField.wrong(t('chooseArticle'));
      else trouble.textContent = t('chooseArticle');
      return null;
    }
    return { customer_id: customer.item.id, note: note.value.trim(),
      lines: all().map((line) => ({ article_id: line.article.item.id, quantity: Number(line.quantity.value) })) };
  };
  const send = async (asDraft) => {
    trouble.textContent = '';
    all().forEach((line) => line.articleField.wrong(''));
    const body = read();
    if (!body) return;
    try {
      let { value } = old ? await call('PUT', `/orders/${id}`, { body, tag: old.tag })
        : await call('POST', '/orders', { body: { ...body, status: asDraft ? 'draft' : 'confirmed' } });
      if (old && !asDraft) ({ value } = await call('POST', `/orders/${id}/confirm`));
      say(t(asDraft ? 'draftSaved' : 'orderPlaced', { id: value.id }));
      changed();
      location.hash = `#/orders/${value.id}`;
    } catch (problem) {
      if (!(problem instanceof Problem)) throw problem;
      const at = /^lines\[(\d+)\]/.exec(problem.body.field || '');
      trouble.textContent = problem.words;
      if (at && all()[Number(at[1])]) all()[Number(at[1])].quantity.focus();
      await look();
    }
  };
  // The stock of the chosen articles, as it is now.
  const look = () => Promise.all(all().filter((line) => line.article.item).map(async (line) => {
    const article = await get(`/articles/${line.article.item.id}`);
    if (line.article.item && line.article.item.id === article.id) {
      line.article.item = article;
      line.paint();
    }
  })).then(paintTotal, () => {});
  const draftButton = h('button', { type: 'button', onclick: () => busy(draftButton, () => send(true)) }, t('saveDraft'));
  const orderButton = h('button', { class: 'main', type: 'submit' }, t('placeOrder'));
  const form = h('form', { novalidate: true, class: 'card' }, h('div', { class: 'fields' }, customerField), lines,
    h('p', {}, h('button', { type: 'button', onclick: () => addLine().article.input.focus() }, '+ ', t('addLine'))),
    field(t('note'), note, { wide: true }), h('div', { class: 'total' }, h('span', {}, t('total')), total), trouble,
    h('div', { class: 'actions' }, h('a', { class: 'button', href: id ? `#/orders/${id}` : '#/orders' }, t('close')), draftButton, orderButton));
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    busy(orderButton, () => send(false));
  });
  main.append(h('div', { class: 'head' }, h('h1', { tabindex: -1 }, id ? `${t('order', { id })} (${t('draft')})` : t('newOrder'))), form);
  if (old) {
    customer.set({ id: old.value.customer_id, name: old.value.customer_name });
    for (const line of old.value.lines) {
      const row = addLine();
      row.quantity.value = line.quantity;
      row.article.set({ id: line.article_id, name: line.name, stock: 0, price_cents: line.unit_price_cents, currency: old.value.currency });
    }
    await look();
  } else {
    addLine();
  }
  const timer = setInterval(() => {
    if (!form.isConnected) clearInterval(timer);
    else if (!document.hidden) look();
  }, LIVE_MS);
}
