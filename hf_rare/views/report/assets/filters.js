// Which rows are listed: a filter is a name of traces, here or in the other dataset. Names of one kind widen, those of
// different kinds narrow, and one trace must have them all. Words must stand somewhere in the row.

function groupOf(name) {
  return name.slice(0, name.indexOf('/'));
}

// Of each side, the numbers of the names by kind.
function readFilters(filters, facets) {
  const sides = {here: new Map(), other: new Map()};
  for (const filter of filters) {
    const [side, name] = [filter.slice(0, filter.indexOf(':')), filter.slice(filter.indexOf(':') + 1)];
    const number = facets.findIndex((facet) => facet[0] === name);
    const groups = sides[side];
    if (!groups) continue;
    if (!groups.has(groupOf(name))) groups.set(groupOf(name), []);
    groups.get(groupOf(name)).push(number);
  }
  return {here: [...sides.here.values()], other: [...sides.other.values()]};
}

function traceFits(names, groups) {
  return groups.every((numbers) => numbers.some((number) => names.includes(number)));
}

function fits(traces, groups) {
  return !groups.length || traces.some((names) => traceFits(names, groups));
}

function escapeWords(words) {
  return words.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
}

// Find rows with some words: of those that are not unpacked yet, only the key and the title are known.
function searchRows(words, index, rows, texts) {
  const pattern = new RegExp(escapeWords(words), 'iu');
  const inText = texts.map((text) => pattern.test(text));
  const inTraces = (traces) => traces.some((trace) => pattern.test(trace.text) || pattern.test(trace.answer)
    || pattern.test(trace.error));
  return index.rows.map((entry, i) => {
    const row = rows[i];
    if (pattern.test(entry[3]) || (entry[2] !== null && pattern.test(entry[2]))) return true;
    if (!row) return false;
    return pattern.test(row.question) || pattern.test(row.scenario) || inTraces(row.traces)
      || (row.others ? inTraces(row.others) : false) || row.documents.some((number) => inText[number]);
  });
}
