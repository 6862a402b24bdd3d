//! Text that a guest chose, made safe to show.
//!
//! A guest picks paths, names, log lines. Shown as they are, they could move a terminal's cursor,
//! set its title or clipboard, turn the direction of the text around them, or look like another
//! text by what nobody sees. Here is what of it is shown as an escape instead. The result is for
//! people and need not be reversible.

/// Whether a terminal, a page or a spreadsheet could act on this character instead of showing it,
/// or would show nothing at all for it.
///
/// Joiners are among those that show nothing, though some scripts and emoji use them: two names
/// that differ must not look the same.
pub fn is_active(c: char) -> bool {
    matches!(
        c,
        '\0'..='\x1f'
        | '\x7f'..='\u{9f}'                 // DEL, C1: U+009B begins a control sequence like ESC [
        | '\u{ad}'                          // soft hyphen
        | '\u{34f}'                         // grapheme joiner
        | '\u{61c}'                         // Arabic letter mark
        | '\u{115f}' | '\u{1160}' | '\u{3164}' | '\u{ffa0}' // Hangul fillers
        | '\u{180e}'                        // vowel separator
        | '\u{200b}'..='\u{200f}'           // zero-width space and joiners, direction marks
        | '\u{2028}'..='\u{202e}'           // line and paragraph separator, embeddings, overrides
        | '\u{2060}'..='\u{206f}'           // invisible operators, isolates, what is deprecated
        | '\u{feff}'                        // byte order mark, a zero-width space elsewhere
        | '\u{fff9}'..='\u{fffb}'           // annotations
        | '\u{e0000}'..='\u{e007f}'         // tags: ASCII that nobody sees
    )
}

/// Appends one character, escaped if it is active.
pub fn push(out: &mut String, c: char) {
    match c {
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        c if c < '\u{80}' && is_active(c) => out.push_str(&format!("\\x{:02x}", u32::from(c))),
        c if is_active(c) => out.push_str(&format!("\\u{{{:x}}}", u32::from(c))),
        c => out.push(c),
    }
}

/// One line: everything active is escaped, line breaks too.
pub fn line(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    text.chars().for_each(|c| push(&mut out, c));
    out
}

/// Several lines: everything active but the line breaks is escaped.
pub fn lines(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => out.push('\n'),
            c => push(&mut out, c),
        }
    }
    out
}

/// JSON text: what is active inside its strings becomes `\uNNNN`, which any reader reads as it was.
///
/// The control characters below U+0020 are escaped in JSON already, save the white space between
/// values, which is left.
pub fn json(text: &str) -> std::borrow::Cow<'_, str> {
    let hidden = |c: char| c >= '\x7f' && is_active(c);
    if !text.contains(hidden) {
        return text.into();
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if hidden(c) {
            // JSON knows characters beyond U+FFFF as their halves in UTF-16.
            for half in c.encode_utf16(&mut [0; 2]) {
                out.push_str(&format!("\\u{half:04x}"));
            }
        } else {
            out.push(c);
        }
    }
    out.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_active_gets_through() {
        let all: String = ('\0'..=char::MAX).collect();
        assert!(!line(&all).contains(is_active));
        assert!(!lines(&all).contains(|c| c != '\n' && is_active(c)));
    }

    /// The standard calls them format characters (Cf) and line separators (Zl, Zp); those of Arabic,
    /// Egyptian and shorthand writing show something.
    #[test]
    fn what_turns_text_or_shows_nothing_is_active() {
        for c in [
            '\0',
            '\x1b',
            '\x7f',
            '\u{85}',
            '\u{9b}',
            '\u{9d}',
            '\u{ad}',
            '\u{61c}',
            '\u{200b}',
            '\u{200c}',
            '\u{200d}',
            '\u{200e}',
            '\u{200f}',
            '\u{2028}',
            '\u{2029}',
            '\u{202a}',
            '\u{202b}',
            '\u{202c}',
            '\u{202d}',
            '\u{202e}',
            '\u{2060}',
            '\u{2066}',
            '\u{2067}',
            '\u{2068}',
            '\u{2069}',
            '\u{feff}',
            '\u{e0001}',
            '\u{e0041}',
        ] {
            assert!(is_active(c), "{c:?}");
        }
    }

    #[test]
    fn what_is_harmless_is_kept() {
        assert_eq!(
            line("größe 日本 🙂 c:\\dir \"x\""),
            "größe 日本 🙂 c:\\dir \"x\""
        );
        assert_eq!(lines("a\nb\tc"), "a\nb\\tc");
    }

    #[test]
    fn escapes_say_what_was_there() {
        assert_eq!(line("\x1b]0;title\x07"), "\\x1b]0;title\\x07");
        assert_eq!(line("\u{9b}31m\u{202e}"), "\\u{9b}31m\\u{202e}");
    }

    #[cfg(feature = "sql")]
    #[test]
    fn json_stays_json() {
        assert_eq!(
            json("{\"a\":\"\u{9b}\u{202e}\"}"),
            r#"{"a":"\u009b\u202e"}"#
        );
        assert_eq!(json("{\n}"), "{\n}");
        assert_eq!(json("\"\u{e0041}\""), "\"\\udb40\\udc41\"");
    }
}
