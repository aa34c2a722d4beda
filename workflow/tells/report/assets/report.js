"use strict";
// Draws the figures of a page that holds both them and the library, packed: browsers refuse a long page in a frame.
(async () => {
  const places = [...document.querySelectorAll(".drawing")];
  const unpack = (id) => {
    const bytes = Uint8Array.from(atob(document.getElementById(id).textContent), (one) => one.charCodeAt(0));
    return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).text();
  };
  const fail = (place, error) => { place.textContent = `This figure cannot be drawn here: ${error}`; };
  // Without the button that sends a figure and its data to a service.
  const options = {
    displaylogo: false, responsive: true, plotlyServerURL: "", modeBarButtonsToRemove: ["sendChartToCloud", "select2d", "lasso2d"],
  };
  const draw = async (place, { data, layout }) => {
    const image = { format: "svg", filename: place.dataset.name };
    place.textContent = "";
    await Plotly.newPlot(place, data, layout, { ...options, toImageButtonOptions: image });
  };
  try {
    const library = document.createElement("script");
    library.textContent = await unpack("library");
    document.head.append(library);
    const drawings = JSON.parse(await unpack("drawings"));
    for (const [number, place] of places.entries()) {
      await draw(place, drawings[number]).catch((error) => fail(place, error));
    }
  } catch (error) {
    places.forEach((place) => fail(place, error));
  }
  document.documentElement.dataset.drawn = "yes";
})();
