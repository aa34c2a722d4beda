// Which runs are opened: by a click or a selection in a scatter, by ticks in the table, by the buttons of opened runs.
(function () {
  // As many as are shown side by side, and as many of a selection as can be turned to.
  const SHOWN = 10, KEPT = 1000;
  let ticked = false;

  const unique = (keys) => [...new Set(keys)];
  const keysOf = (data) =>
    unique(((data && data.points) || []).map((point) => point.customdata).filter((key) => typeof key === "string"));

  function origin(triggered) {
    for (const one of triggered) {
      const dot = one.prop_id.lastIndexOf(".");
      if (dot < 0 || one.prop_id[0] !== "{") continue;
      const property = one.prop_id.slice(dot + 1);
      // A table that is drawn anew has nothing ticked, which is no wish of the reader.
      const id = JSON.parse(one.prop_id.slice(0, dot));
      if (property === "selectedRows" && !(one.value && one.value.length)) {
        if (ticked && one.value && id.table) return { id: {}, property: "unticked" };
        continue;
      }
      if (one.value === null || one.value === undefined) continue;
      return { id, property, value: one.value };
    }
    return null;
  }

  // One run of each question first, so that a few of them show many questions.
  function several(keys, what) {
    const seen = {};
    const ranked = unique(keys).sort().map((key) => {
      const question = key.slice(0, key.lastIndexOf("/"));
      seen[question] = (seen[question] || 0) + 1;
      return { key, rank: seen[question] };
    });
    const ordered = ranked.sort((one, other) => one.rank - other.rank).map((one) => one.key);
    return { keys: ordered.slice(0, KEPT), total: ordered.length, from: 0, what };
  }

  function decide(from, held, adding, picked) {
    const same = { held, picked };
    if (from.property === "clickData") {
      const keys = keysOf(from.value).slice(0, 1);
      if (!keys.length) return same;
      return { held: adding ? unique([...held, ...keys]) : keys, picked: null };
    }
    if (from.id.siblings) {
      return { held: unique([...held, ...from.value.map((row) => row.key)]), picked: null };
    }
    if (from.property === "selectedData" || from.property === "selectedRows") {
      const drawn = from.property === "selectedData";
      const keys = drawn ? keysOf(from.value) : from.value.map((row) => row.key);
      if (!keys.length) return same;
      const chosen = several(keys, drawn ? "points" : "rows");
      return { held: chosen.keys.slice(0, SHOWN), picked: chosen };
    }
    if (from.property === "unticked") return { held: [], picked: null };
    if (from.id.close === "*") return { held: [], picked: null };
    if (from.id.close) return { held: held.filter((key) => key !== from.id.close), picked: null };
    if (from.id.alone) return { held: [from.id.alone], picked: null };
    if (from.id.turn && picked) {
      const start = picked.from + SHOWN * Number(from.id.turn);
      if (start < 0 || start >= picked.keys.length) return same;
      return { held: picked.keys.slice(start, start + SHOWN), picked: { ...picked, from: start } };
    }
    return same;
  }

  // The opened runs cover the foot of the window: the figure that was clicked moves up, so that it can be clicked again.
  function uncover(id, tries = 20) {
    const figure = document.getElementById(JSON.stringify(id, Object.keys(id).sort()));
    const panel = document.querySelector(".opened");
    if (!panel && tries > 0) setTimeout(() => uncover(id, tries - 1), 200);
    if (!panel || !figure) return;
    const covered = figure.getBoundingClientRect().bottom - panel.getBoundingClientRect().top;
    if (covered > 0) window.scrollBy({ top: covered, behavior: "smooth" });
  }

  window.dash_clientside = Object.assign({}, window.dash_clientside, {
    uncertainty: {
      pick: function (clicks, _selections, _ticks, _closes, _siblings, _alone, _turns, held, adding, picked) {
        const none = window.dash_clientside.no_update;
        const cleared = clicks.map(() => null);
        const from = origin(window.dash_clientside.callback_context.triggered);
        if (!from) return [none, none, clicks.map(() => none)];
        const now = decide(from, held || [], (adding || []).length > 0, picked);
        ticked = Boolean(from.id.table);
        if (from.id.scatter) setTimeout(() => uncover(from.id), 200);
        // A click is forgotten once it is answered, so that the same point can be clicked again.
        return [now.held, now.picked, cleared];
      },
    },
  });
})();
