//! A small tree of an XML answer. Answers are bounded by the client, so a tree is no danger, and the
//! few fields a command reads are found by name.

use quick_xml::Reader;
use quick_xml::events::Event;

/// No answer of AWS is nested deeper.
const MAX_DEPTH: usize = 64;

/// An element: its name without prefix, its text and its children.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Element {
    pub name: String,
    pub content: String,
    pub children: Vec<Element>,
}

impl Element {
    /// The first child of that name.
    pub(crate) fn child(&self, name: &str) -> Option<&Element> {
        self.children.iter().find(|c| c.name == name)
    }

    /// All children of that name.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Element> {
        self.children.iter().filter(move |c| c.name == name)
    }

    /// The text of the child of that name.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.child(name).map(|c| c.content.as_str())
    }

    /// The first element of that name at any depth.
    pub(crate) fn find(&self, name: &str) -> Option<&Element> {
        if self.name == name {
            return Some(self);
        }
        self.children.iter().find_map(|c| c.find(name))
    }
}

/// Parses a document; the error is a sentence without a subject.
pub(crate) fn parse(bytes: &[u8]) -> Result<Element, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "is not UTF-8".to_owned())?;
    let mut reader = Reader::from_str(text);
    let mut open: Vec<Element> = Vec::new();
    let mut root = None;
    let close = |open: &mut Vec<Element>, root: &mut Option<Element>, mut done: Element| {
        if !done.children.is_empty() {
            // What stands between children is layout.
            done.content.clear();
        }
        match open.last_mut() {
            Some(parent) => parent.children.push(done),
            None => *root = Some(done),
        }
    };
    let broken = |e: &dyn std::fmt::Display| format!("is not XML: {e}");
    loop {
        match reader.read_event().map_err(|e| broken(&e))? {
            Event::Start(tag) => {
                if open.len() >= MAX_DEPTH {
                    return Err("is nested too deeply".to_owned());
                }
                open.push(named(tag.local_name().as_ref()));
            }
            Event::Empty(tag) => {
                let done = named(tag.local_name().as_ref());
                close(&mut open, &mut root, done);
            }
            Event::End(_) => {
                if let Some(done) = open.pop() {
                    close(&mut open, &mut root, done);
                }
            }
            Event::Text(text) => {
                if let Some(top) = open.last_mut() {
                    top.content.push_str(&text.decode().map_err(|e| broken(&e))?);
                }
            }
            Event::CData(text) => {
                if let Some(top) = open.last_mut() {
                    top.content.push_str(&text.decode().map_err(|e| broken(&e))?);
                }
            }
            Event::GeneralRef(reference) => {
                let Some(top) = open.last_mut() else { continue };
                if let Some(character) = reference.resolve_char_ref().map_err(|e| broken(&e))? {
                    top.content.push(character);
                } else {
                    let name = reference.decode().map_err(|e| broken(&e))?;
                    let known = quick_xml::escape::resolve_predefined_entity(&name)
                        .ok_or_else(|| format!("has the unknown entity `{name}`"))?;
                    top.content.push_str(known);
                }
            }
            Event::Eof => break,
            _ => {}
        }
    }
    match (open.is_empty(), root) {
        (true, Some(root)) => Ok(root),
        _ => Err("ends early".to_owned()),
    }
}

fn named(name: &[u8]) -> Element {
    Element { name: String::from_utf8_lossy(name).into_owned(), ..Element::default() }
}

/// Text for an element's content.
pub(crate) fn escape(text: &str) -> String {
    quick_xml::escape::escape(text).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_text_and_entities() {
        let root =
            parse(b"<?xml version=\"1.0\"?>\n<a xmlns=\"u\">\n <b>x &amp;&#x41; <![CDATA[<]]></b><c/></a>")
                .unwrap();
        assert_eq!(root.text("b"), Some("x &A <"));
        assert_eq!(root.text("c"), Some(""));
        assert_eq!(root.content, "");
        assert!(root.find("c").is_some());
    }

    #[test]
    fn broken_documents_are_refused() {
        for bad in ["", "<a>", "<a></b>", "<a>&nope;</a>", "{}", "<a>&#xffffffff;</a>"] {
            assert!(parse(bad.as_bytes()).is_err(), "{bad}");
        }
        assert!(parse("<a>".repeat(100).as_bytes()).is_err());
    }
}
