"use strict";
// Text of the page is only ever compared here, never written into it.
const list = document.querySelector(".cox-concepts");
const concepts = Array.from(list.children);
const search = document.querySelector(".cox-search");
const order = document.querySelector(".cox-order");
const count = document.querySelector(".cox-count");

function show() {
  const terms = search.value.toLowerCase().split(/[\s,]+/).filter(Boolean);
  let shown = 0;
  for (const concept of concepts) {
    const said = concept.dataset.said.split("\n");
    concept.hidden = !terms.every((term) => said.some((word) => word.includes(term)));
    shown += concept.hidden ? 0 : 1;
  }
  count.textContent = terms.length ? `${shown} of ${concepts.length} concepts` : `${concepts.length} concepts`;
}

function sort() {
  const rank = (concept) => Number(concept.dataset.ranks.split(" ")[order.selectedIndex]);
  list.append(...concepts.sort((one, other) => rank(one) - rank(other)));
}

search.addEventListener("input", show);
order.addEventListener("change", sort);
show();
sort();
