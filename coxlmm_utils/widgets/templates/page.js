"use strict";
// Text of the page is only ever compared here, never written into it.
const list = document.querySelector(".cox-concepts");
const concepts = Array.from(list.querySelectorAll("article"));
const details = new Map(concepts.map((concept) => [concept, concept.nextElementSibling]));
const search = document.querySelector(".cox-search");
const order = document.querySelector(".cox-order");
const count = document.querySelector(".cox-count");
const button = (concept) => concept.querySelector("button");

function show() {
  const terms = search.value.toLowerCase().split(/[\s,]+/).filter(Boolean);
  let shown = 0;
  for (const concept of concepts) {
    const said = concept.dataset.said.split("\n");
    concept.hidden = !terms.every((term) => said.some((word) => word.includes(term)));
    details.get(concept).hidden = concept.hidden || button(concept).ariaExpanded !== "true";
    shown += concept.hidden ? 0 : 1;
  }
  count.textContent = terms.length ? `${shown} of ${concepts.length} concepts` : `${concepts.length} concepts`;
}

function sort() {
  const rank = (concept) => Number(concept.dataset.ranks.split(" ")[order.selectedIndex]);
  concepts.sort((one, other) => rank(one) - rank(other));
  list.append(...concepts.flatMap((concept) => [concept, details.get(concept)]));
}

// A link to a nearest concept opens it, also one that a search hides.
function follow(concept) {
  if (concept.hidden) search.value = "";
  button(concept).ariaExpanded = "true";
  show();
}

for (const concept of concepts) {
  button(concept).addEventListener("click", () => {
    button(concept).ariaExpanded = String(details.get(concept).hidden);
    show();
  });
}
for (const link of list.querySelectorAll("a")) {
  link.addEventListener("click", () => follow(document.querySelector(link.hash)));
}
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") for (const open of document.querySelectorAll(".cox-zoom[open]")) open.open = false;
});
search.addEventListener("input", show);
order.addEventListener("change", sort);
show();
sort();
