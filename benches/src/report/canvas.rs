//! What plots are drawn on, and the SVG around them.

use super::inks::style;
use plotters::{
    coord::Shift,
    element::PathElement,
    prelude::{DrawingArea, DrawingAreaErrorKind, IntoDrawingArea, SVGBackend},
    style::ShapeStyle,
};

/// Where a plot is drawn, in pixels.
pub(super) type Canvas<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// Whether drawing worked.
pub(super) type Drawn = Result<(), DrawingAreaErrorKind<std::io::Error>>;

/// Every plot is this wide.
pub(super) const WIDTH: u32 = 880;

/// A plot without its root element.
#[derive(Debug, Clone)]
pub(super) struct Picture {
    height: u32,
    elements: String,
}

impl Picture {
    /// What `plot` draws; `None` if plotters cannot.
    pub(super) fn draw(height: u32, plot: impl FnOnce(&Canvas<'_>) -> Drawn) -> Option<Self> {
        let mut svg = String::new();
        {
            let canvas = SVGBackend::with_string(&mut svg, (WIDTH, height)).into_drawing_area();
            plot(&canvas).ok()?;
            canvas.present().ok()?;
        }
        // The root element is ours.
        let (_, elements) = svg.split_once('>')?;
        let (elements, _) = elements.rsplit_once("</svg>")?;
        Some(Self {
            height,
            elements: elements.to_owned(),
        })
    }

    /// For a page, which has the style. `name` is unique in it.
    pub(super) fn inline(&self, name: &str, title: &str, description: &str) -> String {
        self.element(["", ""], name, title, description)
    }

    /// For a file of its own.
    pub(super) fn file(&self, name: &str, title: &str, description: &str) -> String {
        let style = format!(
            "<style>{}svg{{background:var(--paper);font-family:sans-serif}}</style>",
            style()
        );
        let namespace = " xmlns=\"http://www.w3.org/2000/svg\"";
        self.element([namespace, &style], name, title, description)
    }

    fn element(&self, [attributes, style]: [&str; 2], name: &str, title: &str, description: &str) -> String {
        let height = self.height;
        let [title, description] = [title, description].map(|text| maud::html! { (text) }.into_string());
        format!(
            "<svg{attributes} viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-labelledby=\"{name}-t {name}-d\">\
             <title id=\"{name}-t\">{title}</title><desc id=\"{name}-d\">{description}</desc>{style}{}</svg>",
            self.elements
        )
    }
}

/// A line, dashed as its ink is.
pub(super) fn line(canvas: &Canvas<'_>, from: (i32, i32), to: (i32, i32), style: ShapeStyle) -> Drawn {
    canvas.draw(&PathElement::new(vec![from, to], style))
}

/// About how wide a text of this size is: there is no font to ask.
pub(super) fn text_width(text: &str, size: f64) -> i32 {
    (text.chars().count() as f64 * size * 0.56).ceil() as i32
}
