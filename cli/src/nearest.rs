//! What was probably meant by a name that is not known. Pure: it must never know where names come from.

/// The known name that was probably meant, if one is close.
pub fn nearest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    let name = name.to_lowercase();
    known
        .iter()
        .map(|k| (strsim::jaro_winkler(&name, &k.to_lowercase()), *k))
        .filter(|(score, _)| *score > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, k)| k)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_seen_through_and_another_word_is_not() {
        let known = ["duration_ns", "host_calls", "function"];
        assert_eq!(nearest("durration_ns", &known), Some("duration_ns"));
        assert_eq!(nearest("HostCalls", &known), Some("host_calls"));
        assert_eq!(nearest("zzz", &known), None);
        assert_eq!(nearest("", &[]), None);
    }
}
