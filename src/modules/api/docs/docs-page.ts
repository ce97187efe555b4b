/**
 * The page at /docs: reads /openapi.json and shows every call, with a form to try it. Self-contained, so that it works
 * without the internet. It builds elements and sets their text; nothing from the document is taken for markup.
 */
export const DOCS_PAGE = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Spector Node API</title>
<style>
:root { color-scheme: light dark; --line: #8884; --soft: #8882; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { margin-bottom: 0 } h2 { margin-top: 2rem; border-bottom: 1px solid var(--line) }
details { border: 1px solid var(--line); border-radius: 6px; margin: .5rem 0; padding: .4rem .8rem }
summary { cursor: pointer; display: flex; gap: .8rem; align-items: baseline; flex-wrap: wrap }
.method { font: 700 .8rem ui-monospace, monospace; min-width: 4.2rem } .path { font-family: ui-monospace, monospace }
.GET { color: #2a7 } .POST { color: #38c } .PUT, .PATCH { color: #c80 } .DELETE { color: #c44 }
.about { opacity: .75; margin-left: auto }
pre, textarea, input { font: 13px/1.45 ui-monospace, monospace; background: var(--soft); border: 0; border-radius: 4px }
pre { padding: .6rem; overflow: auto; max-height: 24rem; white-space: pre-wrap; overflow-wrap: anywhere }
textarea { width: 100%; box-sizing: border-box; padding: .6rem; min-height: 6rem }
label { display: grid; grid-template-columns: 12rem 1fr; gap: .5rem; margin: .25rem 0 } input { padding: .25rem .5rem }
button { padding: .35rem 1rem; margin: .4rem 0 } small { opacity: .7 }
</style>
</head>
<body>
<h1>Spector Node API</h1>
<p><small id="version"></small> · <a href="/openapi.json">openapi.json</a></p>
<label>API key <input id="key" type="password" autocomplete="off" placeholder="only when keys are set"></label>
<main id="calls">Loading…</main>
<script>
const make = (tag, props, ...children) => {
  const node = Object.assign(document.createElement(tag), props);
  node.append(...children);
  return node;
};
const resolve = (api, schema) => schema && schema.$ref ? resolve(api, api.components.schemas[schema.$ref.split('/').pop()]) : schema;
const sample = (api, schema, depth) => {
  const s = resolve(api, schema) || {};
  if (depth > 4) return null;
  if (s.examples) return s.examples[0];
  if (s.default !== undefined) return s.default;
  if (s.enum) return s.enum[0];
  const union = s.oneOf || s.anyOf;
  if (union) return sample(api, union[0], depth + 1);
  if (s.type === 'array') return [sample(api, s.items, depth + 1)];
  if (s.type === 'object') return Object.fromEntries(Object.entries(s.properties || {}).filter(([name]) => !s.required || s.required.includes(name) || depth < 2).map(([name, part]) => [name, sample(api, part, depth + 1)]));
  if (s.type === 'integer' || s.type === 'number') return s.minimum || 0;
  return s.type === 'boolean' ? false : s.type === 'string' ? 'text' : null;
};
const tryOut = (path, method, call, form, output) => {
  const fields = new Map([...form.querySelectorAll('input')].map((input) => [input.name, input.value]));
  let url = path;
  const query = new URLSearchParams();
  const headers = {};
  for (const parameter of call.parameters) {
    const value = fields.get(parameter.in + ':' + parameter.name);
    if (parameter.in === 'path') url = url.replace('{' + parameter.name + '}', encodeURIComponent(value));
    else if (value && parameter.in === 'query') query.set(parameter.name, value);
    else if (value) headers[parameter.name] = value;
  }
  const key = document.getElementById('key').value;
  if (key) headers['X-API-Key'] = key;
  const text = form.querySelector('textarea');
  if (text) headers['content-type'] = 'application/json';
  output.textContent = '…';
  fetch(url + (query.size ? '?' + query : ''), { method, headers, body: text ? text.value : undefined })
    .then(async (answer) => {
      const body = await answer.text();
      let shown = body;
      try { shown = JSON.stringify(JSON.parse(body), null, 2); } catch { shown = body; }
      output.textContent = answer.status + ' ' + answer.statusText + '\\n\\n' + shown;
    }, (error) => { output.textContent = String(error); });
};
const show = (api, path, method, call) => {
  const output = make('pre', { hidden: true });
  const form = make('form');
  for (const parameter of call.parameters) {
    form.append(make('label', {}, parameter.name + (parameter.required ? ' *' : ''), make('input', { name: parameter.in + ':' + parameter.name, required: parameter.required, placeholder: parameter.in + (parameter.description ? ': ' + parameter.description : '') })));
  }
  const body = call.requestBody && call.requestBody.content['application/json'].schema;
  if (body) form.append(make('small', { textContent: 'Body' }), make('textarea', { value: JSON.stringify(sample(api, body, 0), null, 2), spellcheck: false }));
  const stream = Object.values(call.responses).some((answer) => answer.content && answer.content['text/event-stream']);
  if (!stream) form.append(make('button', { textContent: 'Try it' }));
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    output.hidden = false;
    tryOut(path, method.toUpperCase(), call, form, output);
  });
  const answers = make('ul');
  for (const [status, answer] of Object.entries(call.responses)) answers.append(make('li', {}, make('b', { textContent: status }), ' ' + answer.description));
  const parts = [form, output, make('b', { textContent: 'Answers' }), answers];
  if (call.description) parts.unshift(make('p', { textContent: call.description }));
  if (body) parts.push(make('details', {}, make('summary', { textContent: 'Schema of the body' }), make('pre', { textContent: JSON.stringify(resolve(api, body), null, 2) })));
  return make('details', {}, make('summary', {}, make('span', { className: 'method ' + method.toUpperCase(), textContent: method.toUpperCase() }), make('span', { className: 'path', textContent: path }), make('span', { className: 'about', textContent: call.summary })), ...parts);
};
const load = async () => {
  const key = document.getElementById('key').value;
  const answer = await fetch('/openapi.json', key ? { headers: { 'X-API-Key': key } } : {});
  const main = document.getElementById('calls');
  if (!answer.ok) { main.textContent = answer.status === 401 ? 'Enter an API key to see the calls.' : 'The description cannot be read.'; return; }
  const api = await answer.json();
  document.getElementById('version').textContent = 'version ' + api.info.version;
  const groups = new Map();
  for (const [path, methods] of Object.entries(api.paths)) for (const [method, call] of Object.entries(methods)) {
    if (!groups.has(call.tags[0])) groups.set(call.tags[0], []);
    groups.get(call.tags[0]).push(show(api, path, method, call));
  }
  main.replaceChildren(...[...groups].map(([name, calls]) => make('section', {}, make('h2', { textContent: name }), ...calls)), make('section', {}, make('h2', { textContent: 'Schemas' }), ...Object.entries(api.components.schemas).map(([name, schema]) => make('details', {}, make('summary', { textContent: name }), make('pre', { textContent: JSON.stringify(schema, null, 2) })))));
};
document.getElementById('key').addEventListener('change', load);
load();
</script>
</body>
</html>
`;
