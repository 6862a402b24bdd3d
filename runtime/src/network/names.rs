//! Which addresses the names in rules stand for: those of answers that the guest was given, for as long
//! as these hold.
//!
//! An answer counts only where the guest had asked for it, from a server that policy takes answers from.
//! Bounded whatever a guest asks for; it must never look up a name itself.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use super::address::reached;
use super::dns::{Answer, Question};
use super::rules::Pattern;

/// How long an answer of the host's resolver holds: `getaddrinfo` tells no time to live. Programs that
/// keep an address for longer are rarer than names that move on.
pub const LOOKUP_TTL: Duration = Duration::from_secs(300);
/// What an answer holds for at the least: between it and a connection to its last address lie the
/// attempts at the others.
pub const LEAST_TTL: Duration = Duration::from_secs(10);
/// What an answer holds for at most, so that a wrong one is gone one day. RFC 8767 section 4 has a week
/// for resolvers, which outlive a guest.
pub const MOST_TTL: Duration = Duration::from_secs(24 * 60 * 60);
/// How long an answer is waited for. Resolvers' libraries give up after some 5 seconds.
const PATIENCE: Duration = Duration::from_secs(30);

/// The most addresses that are remembered. Beyond it those go first that would end first.
const MAX_BINDINGS: usize = 16 << 10;
/// The most questions that can wait for their answers.
const MAX_QUESTIONS: usize = 1 << 10;

/// The addresses of one set of names.
#[derive(Debug, Default)]
pub(super) struct Bindings {
    /// The names of rules.
    patterns: Vec<Pattern>,
    /// An address, the pattern whose it is, and when that ends; none is never.
    addresses: HashMap<(IpAddr, usize), Option<Instant>>,
}

impl Bindings {
    pub fn new(patterns: Vec<Pattern>) -> Bindings {
        Bindings {
            patterns,
            addresses: HashMap::new(),
        }
    }

    /// Whether there is any name.
    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// The patterns that a name matches, by index.
    pub fn matching(&self, name: &str) -> impl Iterator<Item = usize> {
        let patterns = self.patterns.iter().enumerate();
        patterns.filter_map(move |(i, p)| p.matches(name).then_some(i))
    }

    /// Remembers that the name has this address, until then.
    pub fn bind(&mut self, name: &str, address: IpAddr, until: Option<Instant>) {
        let matching: Vec<usize> = self.matching(name).collect();
        for pattern in matching {
            let key = (reached(address), pattern);
            match self.addresses.get_mut(&key) {
                // None, which is never, is the latest.
                Some(known) if known.is_none() || until.is_none() => *known = None,
                Some(known) => *known = (*known).max(until),
                None => {
                    self.make_room();
                    self.addresses.insert(key, until);
                }
            }
        }
    }

    /// The patterns whose address this is, by index.
    pub fn of(&self, address: IpAddr, now: Instant) -> impl Iterator<Item = usize> {
        let address = reached(address);
        (0..self.patterns.len()).filter(move |&pattern| {
            let until = self.addresses.get(&(address, pattern));
            until.is_some_and(|until| until.is_none_or(|until| now < until))
        })
    }

    fn make_room(&mut self) {
        if self.addresses.len() < MAX_BINDINGS {
            return;
        }
        let mut ends: Vec<_> = self
            .addresses
            .iter()
            .filter_map(|(k, u)| Some((u.as_ref()?, *k)))
            .collect();
        // A half at once: the next time is as many answers away.
        ends.sort_unstable();
        let gone: Vec<_> = ends
            .into_iter()
            .take(MAX_BINDINGS / 2)
            .map(|(_, k)| k)
            .collect();
        for key in gone {
            self.addresses.remove(&key);
        }
    }
}

/// How long a time to live counts for.
pub(super) fn lifetime(seconds: u32) -> Duration {
    Duration::from_secs(seconds.into()).clamp(LEAST_TTL, MOST_TTL)
}

/// What the guest has asked, and of whom.
#[derive(Debug, Default)]
pub(super) struct Questions {
    open: HashMap<(SocketAddr, Question), Instant>,
}

impl Questions {
    /// Remembers a question.
    pub fn ask(&mut self, server: SocketAddr, question: Question, now: Instant) {
        if self.open.len() >= MAX_QUESTIONS {
            self.open
                .retain(|_, asked| now.duration_since(*asked) < PATIENCE);
        }
        if self.open.len() >= MAX_QUESTIONS {
            // Whoever asks so much without waiting for answers is not waiting for these.
            self.open.clear();
        }
        self.open.insert((server, question), now);
    }

    /// Whether this is the answer to a question, which is answered then.
    pub fn answered(&mut self, server: SocketAddr, answer: &Answer, now: Instant) -> bool {
        let asked = self.open.remove(&(server, answer.question.clone()));
        asked.is_some_and(|asked| now.duration_since(asked) < PATIENCE)
    }
}

/// The names and addresses of a file such as `/etc/hosts`.
pub(super) fn hosts(text: &str) -> impl Iterator<Item = (&str, IpAddr)> {
    text.lines().flat_map(|line| {
        let line = line.split('#').next().unwrap_or_default();
        let mut words = line.split_whitespace();
        let address = words.next().and_then(|word| word.parse().ok());
        words.filter_map(move |name| Some((name, address?)))
    })
}

/// The name servers of a file such as `/etc/resolv.conf`, and what is asked where it names none.
pub(super) fn resolvers(text: &str) -> Vec<IpAddr> {
    let server = |line: &str| {
        let mut words = line.split_whitespace();
        (words.next() == Some("nameserver")).then_some(())?;
        // An address of a link carries its zone.
        words.next()?.split('%').next()?.parse().ok()
    };
    let found: Vec<IpAddr> = text.lines().filter_map(server).map(reached).collect();
    match found.is_empty() {
        true => vec![
            std::net::Ipv4Addr::LOCALHOST.into(),
            std::net::Ipv6Addr::LOCALHOST.into(),
        ],
        false => found,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn bindings(patterns: &[&str]) -> Bindings {
        Bindings::new(patterns.iter().map(|p| p.parse().unwrap()).collect())
    }

    fn of(bindings: &Bindings, address: &str, now: Instant) -> Vec<usize> {
        bindings.of(ip(address), now).collect()
    }

    #[test]
    fn a_name_has_its_addresses_until_they_end() {
        let now = Instant::now();
        let later = now + Duration::from_secs(60);
        let mut bindings = bindings(&["a.example", "*.example", "b.example"]);
        bindings.bind("A.example.", ip("::ffff:192.0.2.1"), Some(later));
        assert_eq!(of(&bindings, "192.0.2.1", now), [0, 1]);
        assert!(of(&bindings, "192.0.2.2", now).is_empty());
        assert!(of(&bindings, "192.0.2.1", later).is_empty());
        bindings.bind("b.example", ip("192.0.2.1"), Some(later));
        bindings.bind("b.example", ip("192.0.2.1"), None);
        bindings.bind("b.example", ip("192.0.2.1"), Some(later));
        assert_eq!(
            of(&bindings, "192.0.2.1", later),
            [1, 2],
            "what never ends stays"
        );
    }

    #[test]
    fn an_earlier_end_does_not_shorten_what_was_answered() {
        let now = Instant::now();
        let mut bindings = bindings(&["a.example"]);
        for seconds in [60, 20] {
            let until = now + Duration::from_secs(seconds);
            bindings.bind("a.example", ip("192.0.2.1"), Some(until));
        }
        assert_eq!(
            of(&bindings, "192.0.2.1", now + Duration::from_secs(40)),
            [0]
        );
    }

    #[test]
    fn addresses_are_bounded_and_what_is_permanent_stays() {
        let now = Instant::now();
        let mut bindings = bindings(&["*.example"]);
        bindings.bind("first.example", ip("192.0.2.1"), None);
        for n in 0..3 * MAX_BINDINGS as u64 {
            let address = IpAddr::V6((u128::from(n) + (1 << 100)).into());
            bindings.bind("x.example", address, Some(now + Duration::from_secs(n)));
            assert!(bindings.addresses.len() <= MAX_BINDINGS);
        }
        assert_eq!(of(&bindings, "192.0.2.1", now), [0]);
    }

    #[test]
    fn a_question_is_answered_once_and_in_time() {
        let now = Instant::now();
        let server: SocketAddr = "192.0.2.53:53".parse().unwrap();
        let question = Question {
            id: 1,
            name: "a.example".to_owned(),
            record_type: 1,
        };
        let answer = Answer {
            question: question.clone(),
            names: vec![],
            addresses: vec![],
            ttl: 0,
        };
        let mut questions = Questions::default();
        assert!(!questions.answered(server, &answer, now));
        questions.ask(server, question.clone(), now);
        let other = "192.0.2.54:53".parse().unwrap();
        assert!(!questions.answered(other, &answer, now));
        assert!(questions.answered(server, &answer, now));
        assert!(!questions.answered(server, &answer, now));
        questions.ask(server, question.clone(), now);
        assert!(!questions.answered(server, &answer, now + PATIENCE));
        for id in 0..=u16::MAX {
            questions.ask(
                server,
                Question {
                    id,
                    ..question.clone()
                },
                now,
            );
            assert!(questions.open.len() <= MAX_QUESTIONS);
        }
    }

    #[test]
    fn files_of_the_host_are_read() {
        let text = "127.0.0.1 localhost # here\n# all\n\n::1\tip6 ip7\nnonsense a b\n10.0.0.1";
        let expected = [
            ("localhost", ip("127.0.0.1")),
            ("ip6", ip("::1")),
            ("ip7", ip("::1")),
        ];
        assert_eq!(hosts(text).collect::<Vec<_>>(), expected);
        let text =
            "# nameserver 1.1.1.1\nsearch a\nnameserver 192.0.2.53\n nameserver fe80::1%eth0\n";
        assert_eq!(resolvers(text), [ip("192.0.2.53"), ip("fe80::1")]);
        assert_eq!(resolvers(""), [ip("127.0.0.1"), ip("::1")]);
    }
}
