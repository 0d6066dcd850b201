// Customers.
import { t } from './text.js';
import { call, get, query } from './api.js';
import { h, field, select, formDialog, pagedTable, later, say, ask, busy, complain } from './parts.js';

async function edit(id, done) {
  const { value: customer, tag } = id ? await call('GET', `/customers/${id}`) : { value: null };
  const of = (name) => (customer ? customer[name] : '');
  const fields = {
    name: field(t('name'), h('input', { maxlength: 200, value: of('name'), autocomplete: 'off' }), { wide: true, name: 'name' }),
    email: field(t('email'), h('input', { type: 'email', maxlength: 254, value: of('email'), autocomplete: 'off' }), { name: 'email' }),
    phone: field(t('phone'), h('input', { type: 'tel', maxlength: 50, value: of('phone'), autocomplete: 'off' }), { name: 'phone' }),
    address: field(t('address'), h('textarea', { maxlength: 500, value: of('address') }), { wide: true, name: 'address' }),
  };
  const save = async () => {
    const body = Object.fromEntries(Object.entries(fields).map(([name, box]) => [name, box.input.value.trim()]));
    await (customer ? call('PUT', `/customers/${id}`, { body, tag }) : call('POST', '/customers', { body }));
    say(t('saved', { name: body.name }));
    done();
  };
  const remove = customer && (async (box) => {
    if (!await ask(t('removeAsk', { name: customer.name }))) return;
    try {
      await call('DELETE', `/customers/${id}`, { tag });
      box.close();
      say(t('removed', { name: customer.name }));
      done();
    } catch (problem) {
      complain(problem);
    }
  });
  formDialog(customer ? t('edit', { name: customer.name }) : t('newCustomer'), fields, save, { remove });
}

export function customersView(main) {
  const search = h('input', { type: 'search', class: 'search', maxlength: 200 });
  const order = select([['name', t('byName')], ['email', t('byEmail')], ['-id', t('newest')]], 'name');
  const table = pagedTable([[t('name')], [t('email')], [t('phone')], [t('orders'), 'number']],
    (after) => get('/customers' + query({ q: search.value.trim(), sort: order.value, after })),
    (customer) => {
      const open = h('button', { class: 'link', onclick: () => busy(open, () => edit(customer.id, table.reload)) }, customer.name);
      return h('tr', {}, h('td', {}, open, h('span', { class: 'sub' }, customer.address)),
        h('td', { class: 'full' }, h('a', { href: `mailto:${customer.email}` }, customer.email)), h('td', {}, customer.phone),
        h('td', { class: 'number' }, h('a', { class: 'button', href: `#/orders?customer=${customer.id}`, 'aria-label': `${t('orders')}: ${customer.name}` }, t('orders'))));
    }, t('nothingFound'));
  search.addEventListener('input', later(table.reload));
  order.addEventListener('change', table.reload);
  const add = h('button', { class: 'main', 'data-key': 'n', onclick: () => busy(add, () => edit(null, table.reload)) }, t('newCustomer'));
  main.append(
    h('div', { class: 'head' }, h('h1', { tabindex: -1 }, t('customers')),
      h('a', { class: 'button', href: 'api/export/customers.csv', download: 'customers.csv' }, t('exportCsv')), add),
    h('div', { class: 'bar' }, field(t('search'), search), Object.assign(field(t('sort'), order), { className: 'field narrow' })), table);
  return table.reload();
}
