// Makes the columns of the large tables sortable. The page says everything without this.
for (const table of document.querySelectorAll('table.classes')) {
  const body = table.tBodies[0];
  table.querySelectorAll('thead th').forEach((head, column) => {
    const button = document.createElement('button');
    button.textContent = head.textContent;
    head.replaceChildren(button);
    button.addEventListener('click', () => {
      const up = head.getAttribute('aria-sort') !== 'ascending';
      table.querySelectorAll('thead th').forEach((other) => other.removeAttribute('aria-sort'));
      head.setAttribute('aria-sort', up ? 'ascending' : 'descending');
      const key = (row) => row.cells[column].dataset.value ?? row.cells[column].textContent;
      const compare = (a, b) => {
        const [x, y] = [key(a), key(b)];
        const numbers = [x, y].every((value) => !isNaN(value));
        return numbers ? x - y : x.localeCompare(y, undefined, { numeric: true });
      };
      // What has no value stays below, whichever way the others go.
      const missing = (row) => key(row) === '' || key(row) === '–';
      const [without, rows] = [true, false].map((is) => [...body.rows].filter((row) => missing(row) === is));
      rows.sort(compare);
      body.append(...(up ? rows : rows.reverse()), ...without);
    });
  });
}
