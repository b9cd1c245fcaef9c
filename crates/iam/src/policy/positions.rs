//! Where a policy's statements stand in its text.

/// A line and a column, both from 1.
pub type Position = (usize, usize);

/// Start and end of each statement, in order: the places just behind its opening and its closing brace, which is
/// how the policy simulator counts (the AWS CLI's examples: a statement whose brace is the 37th character of
/// the line starts at column 38). Columns count characters. Best effort for text that is no policy.
pub fn positions(text: &str) -> Vec<(Position, Position)> {
    let mut scanner = Scanner { line: 1, column: 1, ..Scanner::default() };
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        scanner.step(c);
        match c {
            '"' => {
                let string = scanner.string(&mut chars);
                if scanner.depth == 1 && !scanner.after_colon {
                    // A key may be written with escapes.
                    let key = serde_json::from_str::<String>(&string);
                    scanner.in_statement = key.is_ok_and(|key| key == "Statement");
                }
            }
            ':' if scanner.depth == 1 => scanner.after_colon = true,
            ',' if scanner.depth == 1 => scanner.after_colon = false,
            '{' | '[' => scanner.open(c),
            '}' | ']' => scanner.close(),
            _ => {}
        }
    }
    scanner.found
}

#[derive(Default)]
struct Scanner {
    line: usize,
    column: usize,
    depth: usize,
    after_colon: bool,
    /// Is the value at depth 1 that of `Statement`?
    in_statement: bool,
    /// Is that value a list?
    list: bool,
    start: Option<(usize, Position)>,
    found: Vec<(Position, Position)>,
}

impl Scanner {
    fn step(&mut self, c: char) {
        if c == '\n' {
            self.line += 1;
            self.column = 1;
        } else {
            self.column += 1;
        }
    }

    /// The rest of a string, with both quotes.
    fn string(&mut self, chars: &mut std::str::Chars<'_>) -> String {
        let mut string = "\"".to_owned();
        let mut escaped = false;
        for c in chars.by_ref() {
            self.step(c);
            string.push(c);
            if c == '"' && !escaped {
                break;
            }
            escaped = c == '\\' && !escaped;
        }
        string
    }

    fn open(&mut self, c: char) {
        if self.depth == 1 {
            self.list = c == '[';
        }
        let wanted = if self.list { 2 } else { 1 };
        if c == '{' && self.in_statement && self.depth == wanted && self.start.is_none() {
            self.start = Some((self.depth, (self.line, self.column)));
        }
        self.depth += 1;
    }

    fn close(&mut self) {
        self.depth = self.depth.saturating_sub(1);
        if let Some((depth, start)) = self.start
            && depth == self.depth
        {
            self.found.push((start, (self.line, self.column)));
            self.start = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_the_aws_clis_examples_count() {
        let one_line = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"dynamodb:*","Resource":"*","Condition":{"DateGreaterThan":{"aws:CurrentTime":"2018-08-16T12:00:00Z"}}}}"#;
        assert_eq!(positions(one_line), [((1, 38), (1, 167))]);
        let lines = "{\n    \"Version\": \"2012-10-17\",\n    \"Statement\": {\n        \"Effect\": \"Allow\"\n    }\n}";
        assert_eq!(positions(lines), [((3, 19), (5, 6))]);
    }

    #[test]
    fn lists_strings_with_braces_and_other_members() {
        let text = r#"{"Id":"{Statement","Statement":[{"Sid":"a}\"{"},
 {"Condition":{"x":{}}}],"Version":"2012-10-17"}"#;
        assert_eq!(positions(text), [((1, 34), (1, 48)), ((2, 3), (2, 24))]);
        assert_eq!(positions(r#"{"Other":[{"Statement":{}}]}"#), []);
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(text in "[\\[\\]{}\":,a\\\\\n ]{0,64}") {
            positions(&text);
        }
    }
}
