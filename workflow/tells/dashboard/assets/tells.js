// The address follows the controls; veiled text shows on a click; the reader's choice of light or dark is kept.
(function () {
  const root = document.documentElement;
  const kept = (() => { try { return localStorage.getItem("tells-theme"); } catch { return null; } })();
  if (kept === "dark" || kept === "light") root.dataset.theme = kept;

  function toggleTheme() {
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
    try { localStorage.setItem("tells-theme", root.dataset.theme); } catch { /* private window: not kept */ }
  }

  document.addEventListener("click", (event) => {
    const target = event.target.closest("[data-action], .veiled");
    if (!target) return;
    const action = target.dataset.action;
    if (action === "theme") toggleTheme();
    if (action === "unveil") {
      const text = target.parentElement.querySelector(".veil-text");
      const veiled = text.classList.toggle("veiled-text");
      text.setAttribute("aria-hidden", String(veiled));
      target.setAttribute("aria-pressed", String(!veiled));
      target.textContent = veiled ? "Show the text" : "Hide the text";
    }
    if (action === "copy") {
      navigator.clipboard.writeText(location.href).then(() => { target.textContent = "Copied"; });
    }
    if (target.classList.contains("veiled")) target.classList.remove("veiled");
  });

  // Dash's controls bear roles that readers of the screen trip over: an option with a box inside, a hidden target of focus.
  function mend() {
    for (const input of document.querySelectorAll(".dash-dropdown-focus-target[tabindex='0']")) input.tabIndex = -1;
    for (const label of document.querySelectorAll(".control.switch [role='option']")) {
      label.removeAttribute("role");
      label.removeAttribute("aria-selected");
    }
    for (const list of document.querySelectorAll(".control.switch [role='listbox']")) list.setAttribute("role", "group");
  }
  new MutationObserver(mend).observe(document, {
    childList: true, subtree: true, attributes: true, attributeFilter: ["role", "aria-selected", "tabindex"],
  });

  window.dash_clientside = Object.assign({}, window.dash_clientside, {
    tells: {
      follow: function (query) {
        history.replaceState(history.state, "", location.pathname + (query || ""));
        return Date.now();
      },
    },
  });
})();
