//! A document of few kinds of blocks, written once and shown as an HTML page, as Markdown or as a PDF.

mod html;
mod markdown;

pub use html::html;
pub use markdown::markdown;

use crate::chart::Chart;

/// A short document: a title and what follows it, from top to bottom.
#[derive(Debug)]
pub struct Document {
    /// The title; plain text.
    pub title: String,
    /// One line below it: where and when.
    pub subtitle: String,
    /// What it says.
    pub blocks: Vec<Block>,
}

/// One thing in a document. All words are plain text, in which what stands in backticks is shown as code.
#[derive(Debug)]
pub enum Block {
    /// Begins a section.
    Heading(String),
    /// A paragraph, with the words in bold that begin it.
    Text {
        /// Often empty.
        lead: String,
        /// The paragraph.
        text: String,
    },
    /// Something that the document should tell and cannot.
    Missing {
        /// What is not there, as a sentence.
        what: String,
        /// What would bring it; none where nothing does.
        command: Option<String>,
    },
    /// A table.
    Table(Table),
    /// Charts beside each other; without values, nothing is shown.
    Charts(Vec<Chart>),
    /// Words that are shown as they are, broken where they are too long.
    Code(String),
}

/// A table.
#[derive(Debug, Default)]
pub struct Table {
    /// The columns, as many as every row has cells.
    pub columns: Vec<Column>,
    /// Cells; shorter rows are filled with empty ones.
    pub rows: Vec<Vec<String>>,
}

/// A column of a table.
#[derive(Debug)]
pub struct Column {
    /// Its head.
    pub name: String,
    /// Whether its cells are numbers, which stand at the right.
    pub number: bool,
}

impl Column {
    /// A column of words.
    pub fn words(name: &str) -> Column {
        Column { name: name.to_owned(), number: false }
    }

    /// A column of numbers.
    pub fn numbers(name: &str) -> Column {
        Column { name: name.to_owned(), number: true }
    }
}

impl Block {
    /// A paragraph that begins with words in bold.
    pub fn led(lead: &str, text: impl Into<String>) -> Block {
        Block::Text { lead: lead.to_owned(), text: text.into() }
    }

    /// A paragraph.
    pub fn text(text: impl Into<String>) -> Block {
        Block::Text { lead: String::new(), text: text.into() }
    }

    /// What is missing, and the command that would bring it.
    pub fn missing(what: impl Into<String>, command: impl Into<String>) -> Block {
        Block::Missing { what: what.into(), command: Some(command.into()) }
    }
}

/// A piece of a sentence: plain words, or code.
pub(crate) enum Piece<'a> {
    Plain(&'a str),
    Code(&'a str),
}

/// A sentence in pieces, by its backticks; an odd one is no quotation.
pub(crate) fn pieces(text: &str) -> Vec<Piece<'_>> {
    let parts: Vec<&str> = text.split('`').collect();
    if parts.len().is_multiple_of(2) {
        return vec![Piece::Plain(text)];
    }
    let kind = |(index, part)| match index % 2 {
        1 => Piece::Code(part),
        _ => Piece::Plain(part),
    };
    parts.into_iter().enumerate().filter(|(_, part)| !part.is_empty()).map(kind).collect()
}

#[cfg(test)]
pub(crate) mod tests;
