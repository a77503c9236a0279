// What the page carries is packed: base64 of a zlib stream of JSON, in elements that no browser runs.

async function unpack(element) {
  const letters = atob(element.textContent);
  const bytes = new Uint8Array(letters.length);
  for (let i = 0; i < letters.length; i++) bytes[i] = letters.charCodeAt(i);
  element.remove();
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream('deflate'));
  return new Response(stream).json();
}

// Rows come one part after the other, so that the page can be used before all are there.
async function unpackRows(onPart) {
  const texts = [];
  const rows = [];
  for (const element of document.querySelectorAll('script.part')) {
    const part = await unpack(element);
    for (const text of part.texts) texts.push(text);
    for (const row of part.rows) rows.push(row);
    onPart(rows, texts);
    await new Promise((go) => setTimeout(go));
  }
}

function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === 'onclick') element.addEventListener('click', value);
    else if (value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null)); // texts stay texts
  return element;
}
