// One row: its documents beside its traces, what is cited linked, what is quoted marked on both sides.

function tagOf(text, kind = '') {
  return make('span', {class: `tag ${kind}`}, text);
}

function kindOf(text) {
  return {ok: 'good', right: 'good', unchecked: ''}[text] ?? 'bad';
}

// Bring a document into sight, or the stretch of it that begins at a place.
function showDocument(place, from = null) {
  const element = document.getElementById(`document-${place}`);
  if (!element) return;
  const stretch = from === null ? null : element.querySelector(`mark[data-from~="${from}"]`);
  element.classList.remove('flash');
  (stretch ?? element).scrollIntoView({block: stretch ? 'center' : 'nearest'});
  void element.offsetWidth; // so that it begins again
  element.classList.add('flash');
}

function linkTo(place, text) {
  const go = (event) => {
    event.preventDefault();
    showDocument(place);
  };
  return make('a', {href: '#', class: 'citation', 'data-document': place, onclick: go}, text);
}

// Link the numbers of a citation, or all of it where it is in words. `places` leads from a number to a document here.
function linkCitation(text, numbers, places) {
  const placeOf = (number) => places[number - 1] ?? null;
  const parts = text.split(/(?<![\p{L}\p{N}_])([0-9]{1,3})(?![\p{L}\p{N}_])/u);
  if (parts.length > 1) {
    return parts.map((part, i) => (i % 2 && placeOf(Number(part)) !== null ? linkTo(placeOf(Number(part)), part) : part));
  }
  return [numbers.length === 1 && placeOf(numbers[0]) !== null ? linkTo(placeOf(numbers[0]), text) : text];
}

function markQuote(quotes, ...children) {
  const places = [...new Set(quotes.map((quote) => quote.document))];
  const title = `the very words of document ${places.map((place) => place + 1).join(' and ')}`;
  const go = () => showDocument(quotes[0].document, quotes[0].from);
  return make('mark', {title, 'data-documents': places.join(' '), onclick: go}, ...children);
}

function drawTraceText(trace, quotes, places) {
  const citations = trace.citations.map(([start, end, ...numbers]) => ({start, end, numbers}));
  return cutText(trace.text, [...quotes, ...citations]).map(({text, within}) => {
    const citation = within.find((one) => one.numbers);
    const children = citation ? linkCitation(text, citation.numbers, places) : [text];
    const own = within.filter((one) => !one.numbers);
    return own.length ? markQuote(own, ...children) : make('span', {}, ...children);
  });
}

function drawDocuments(row, documents, quotes, evidence) {
  return documents.map((text, place) => {
    const own = quotes.filter((quote) => quote.document === place).map(({from, to}) => ({start: from, end: to}));
    const isPositive = place === row.positive;
    const head = make('header', {},
      row.numbered ? make('b', {}, `[${place + 1}]`) : null,
      isPositive ? tagOf('positive', 'good') : null,
      evidence ? make('span', {}, `${evidence[place]} nats of evidence`) : null);
    const body = cutText(text, own).map((piece) => piece.within.length
      ? make('mark', {'data-from': piece.within.map((quote) => quote.start).join(' ')}, piece.text) : piece.text);
    return make('article', {id: `document-${place}`, class: `document ${isPositive ? 'positive' : ''}`},
      head, make('p', {class: 'text'}, ...body));
  });
}

function drawTrace(trace, quotes, places) {
  const isEmpty = !trace.text;
  return [
    make('div', {class: 'head'},
      trace.status ? tagOf(trace.status, kindOf(trace.status)) : null,
      trace.verdict ? tagOf(trace.verdict, kindOf(trace.verdict)) : null,
      trace.tokens !== null ? `${trace.tokens.toLocaleString('en')} tokens` : null,
      trace.error ? make('span', {class: 'error'}, trace.error) : null),
    make('div', {class: 'trace'}, isEmpty ? make('p', {class: 'note text'}, 'No trace.')
      : make('p', {class: 'text'}, ...drawTraceText(trace, quotes, places))),
    trace.answer ? make('p', {class: 'answer'}, make('b', {}, 'Answer: '), trace.answer) : null,
  ].filter((part) => part !== null);
}

// The traces of one dataset, as tabs where there are several.
function drawTraces(title, traces, open, choose, draw) {
  if (!traces.length) return make('section', {class: 'traces'}, make('h3', {}, title), make('p', {class: 'note'}, 'No trace.'));
  const tabs = traces.map((trace, place) => make('button', {
    role: 'tab', type: 'button', 'aria-selected': place === open, onclick: () => choose(place),
  }, `${place + 1} ${trace.verdict || trace.status}`));
  return make('section', {class: 'traces'}, make('h3', {}, title),
    traces.length > 1 ? make('div', {role: 'tablist', 'aria-label': title}, ...tabs) : null,
    ...draw(traces[open]));
}

// Draw a row; `open` says which trace of each side is shown, `choose` is called with a side and another one.
function drawRow(row, texts, {names, quoteWords, open, choose, marks}) {
  const documents = row.documents.map((number) => texts[number]);
  const asked = [row.question, row.scenario];
  const here = documents.map((_, place) => row.numbered ? place : null);
  const mine = row.traces[open.here];
  const quotes = mine ? findQuotes(mine.text, documents, asked, quoteWords) : [];
  const sides = [drawTraces(row.others ? names[0] : row.traces.length > 1 ? `${row.traces.length} traces` : 'Trace',
    row.traces, open.here, (place) => choose('here', place), (trace) => drawTrace(trace, quotes, here))];
  const shown = [...quotes];
  if (row.others) {
    const other = row.others[open.other];
    const theirs = other ? findQuotes(other.text, documents, asked, quoteWords) : [];
    shown.push(...theirs);
    sides.push(drawTraces(names[1], row.others, open.other, (place) => choose('other', place),
      (trace) => drawTrace(trace, theirs, row.others_numbered ? row.others_places : [])));
  }
  const beside = make('div', {class: 'beside'},
    make('section', {class: 'documents'}, make('h3', {}, `${documents.length} document${documents.length === 1 ? '' : 's'}`),
      ...drawDocuments(row, documents, shown, mine ? mine.evidence : null)),
    ...sides);
  beside.style.setProperty('--columns', sides.length + 1);
  return [
    make('div', {class: 'head'}, ...marks),
    row.question ? make('h2', {}, row.question) : null,
    row.scenario ? make('p', {class: 'scenario'}, row.scenario) : null,
    row.gold ? make('p', {class: 'gold'}, make('b', {}, 'Right answer: '), row.gold) : null,
    beside,
  ].filter((part) => part !== null);
}
