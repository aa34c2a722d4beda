// Which sample or prompt is opened: by a row, a point or a button. What a table tells at the moment of a click, as one
// that was just drawn does, comes together with the click and does not hide it.
(function () {
  // What the reader did. A table that is drawn anew has nothing selected, and a button that is drawn anew has not been
  // pressed: neither is a wish.
  function wishes() {
    const told = window.dash_clientside.callback_context.triggered.map((one) => {
      const dot = one.prop_id.lastIndexOf(".");
      return { id: one.prop_id[0] === "{" ? JSON.parse(one.prop_id.slice(0, dot)) : {}, value: one.value };
    });
    const asked = (value) => (Array.isArray(value) ? value.length > 0 : Boolean(value) && !value.ids);
    return told.filter((one) => asked(one.value));
  }

  function kept(place) {
    return window.dash_clientside.callback_context.outputs_list[place].map(() => window.dash_clientside.no_update);
  }

  // Only one list has a selected row: that of what is opened.
  function deselected(place, chosen) {
    const none = window.dash_clientside.no_update;
    const lists = window.dash_clientside.callback_context.outputs_list[place];
    return lists.map((one) => (JSON.stringify(one.id) === JSON.stringify(chosen) ? none : true));
  }

  const pointOf = (data) => (data.points || []).map((one) => one.customdata).find((key) => typeof key === "string");

  window.dash_clientside = Object.assign({}, window.dash_clientside, {
    agreement: {
      open: function (_rows, points, _closes) {
        for (const one of wishes()) {
          const sample = one.id["agreement-grid"] ? one.value[0].key : one.id["agreement-close"] ? "" : pointOf(one.value);
          if (sample === undefined) continue;
          // A click is forgotten once it is answered, so that the same point can be clicked again.
          return [sample, deselected(1, one.id), points.map(() => null)];
        }
        return [window.dash_clientside.no_update, kept(1), kept(2)];
      },
    },
    safety: {
      open: function (_rows, _presses, rendered) {
        const none = window.dash_clientside.no_update;
        for (const one of wishes()) {
          const action = one.id["safety-open"];
          if (action === "every") return [none, true, kept(2)];
          const benchmark = new URLSearchParams(rendered).get("benchmark");
          const prompt = action ? (action === "close" ? "" : action) : `${benchmark}/${one.value[0].prompt_id}`;
          return [prompt, false, deselected(2, one.id)];
        }
        return [none, none, kept(2)];
      },
    },
  });
})();
