// When content is made anew its elements are new ones too: what had the focus keeps it, and figures that are gone give
// back their drawing contexts, of which a browser has only a few.
(function () {
  let focused = null;
  document.addEventListener("focusin", (event) => { focused = event.target; });

  function keepFocus() {
    if (!focused || focused.isConnected || document.activeElement !== document.body || !focused.id) return;
    const now = document.getElementById(focused.id);
    if (now) now.focus({ preventScroll: true });
  }

  function giveBack(node) {
    if (node.nodeType !== Node.ELEMENT_NODE) return;
    for (const canvas of node.matches("canvas") ? [node] : node.querySelectorAll("canvas")) {
      const context = canvas.getContext("webgl") || canvas.getContext("experimental-webgl");
      const lose = context && context.getExtension("WEBGL_lose_context");
      if (lose) lose.loseContext();
    }
  }

  new MutationObserver((changes) => {
    for (const change of changes) {
      for (const node of change.removedNodes) if (!node.isConnected) giveBack(node);
    }
    keepFocus();
  }).observe(document, { childList: true, subtree: true });
})();
