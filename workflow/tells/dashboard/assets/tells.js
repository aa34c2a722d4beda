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
    if (action === "unveil-all") {
      for (const one of target.closest(".card").querySelectorAll("[data-action='unveil'][aria-pressed='false']")) one.click();
    }
    if (action === "copy") {
      navigator.clipboard.writeText(location.href).then(() => { target.textContent = "Copied"; });
    }
    if (target.classList.contains("veiled")) target.classList.remove("veiled");
  });

  // Dash's controls bear roles that readers of the screen trip over: an option with a box inside, a hidden target of focus.
  function mend() {
    for (const input of document.querySelectorAll(".dash-dropdown-focus-target[tabindex='0']")) input.tabIndex = -1;
    // Without that target the keyboard needs the button itself.
    for (const button of document.querySelectorAll("button.dash-dropdown[tabindex='-1']:not([disabled])")) button.tabIndex = 0;
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
      // Bring a part below a table into view without leaving the table, so that row after row can be opened.
      near: function (changed, id) {
        const part = document.getElementById(id);
        if (part && changed && changed.length !== 0) setTimeout(() => part.scrollIntoView({ block: "nearest" }), 300);
        return window.dash_clientside.no_update;
      },
      // Bring a part of the page into view once what it shows has changed.
      reveal: function (changed, id) {
        const part = document.getElementById(id);
        if (part && changed && changed.length !== 0) setTimeout(() => {
          part.tabIndex = -1;
          part.focus({ preventScroll: true });
          part.scrollIntoView({ block: "start" });
        }, 150);
        return window.dash_clientside.no_update;
      },
    },
  });
})();
