// Draws the tokens of `shaded` texts: text nodes with a shade each, so that thousands of them appear at once.
(function () {
  function share(value, told) {
    if (told.low === told.high) return 0;
    return Math.min(1, Math.max(0, (value - told.low) / (told.high - told.low)));
  }

  function token(piece, value, told) {
    const made = document.createElement("span");
    made.textContent = piece;
    made.title = value === null ? `${told.what}: none` : `${told.what}: ${value.toFixed(3)}`;
    if (value !== null) made.className = `shade s${Math.round(10 * share(value, told))}`;
    return made;
  }

  function mark(words) {
    const made = document.createElement("strong");
    made.className = "cut";
    made.textContent = ` ⟨${words}⟩ `;
    return made;
  }

  function draw(place) {
    const told = JSON.parse(place.dataset.tokens);
    const parts = document.createDocumentFragment();
    told.pieces.forEach((piece, number) => {
      if (number === told.cut) parts.append(mark(told.words));
      if (piece) parts.append(token(piece, told.values[number], told));
    });
    if (told.cut === told.pieces.length) parts.append(mark(told.words));
    place.replaceChildren(parts);
  }

  new MutationObserver((changes) => {
    for (const change of changes) {
      if (change.type === "attributes") draw(change.target);
      for (const node of change.addedNodes) {
        if (node.nodeType !== Node.ELEMENT_NODE) continue;
        if (node.matches("[data-tokens]")) draw(node);
        node.querySelectorAll("[data-tokens]").forEach(draw);
      }
    }
  }).observe(document, { childList: true, subtree: true, attributes: true, attributeFilter: ["data-tokens"] });
})();
