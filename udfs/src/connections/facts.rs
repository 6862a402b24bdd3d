//! What each function does to sockets, by its number, so that no record is looked at in vain.

use std::sync::LazyLock;

use timecraft_segment::function::{self, Function, Kind, Scalar};
use timecraft_segment::{FunctionId, Outcome, wasi};

use super::connection::errno;
use super::event::Action;

/// What a function does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Open,
    /// It gives a number to something that is no socket.
    OpenOther,
    Bind,
    Connect,
    Listen,
    Accept,
    Send,
    Receive,
    /// The same as [`Step::Send`], on whatever the descriptor is.
    Write,
    /// The same as [`Step::Receive`], on whatever the descriptor is.
    Read,
    Shutdown,
    Close,
    Renumber,
    GetOption,
    SetOption,
    LocalAddress,
    PeerAddress,
    Resolve,
}

impl Step {
    /// What it is on a socket; none where it is not told as a call on one.
    pub(super) fn action(self) -> Option<Action> {
        Some(match self {
            Step::Open => Action::Open,
            Step::Bind => Action::Bind,
            Step::Connect => Action::Connect,
            Step::Listen => Action::Listen,
            Step::Accept => Action::Accept,
            Step::Send | Step::Write => Action::Send,
            Step::Receive | Step::Read => Action::Receive,
            Step::Shutdown => Action::Shutdown,
            Step::Close => Action::Close,
            Step::Renumber => Action::Renumber,
            Step::GetOption => Action::GetOption,
            Step::SetOption => Action::SetOption,
            Step::LocalAddress => Action::LocalAddress,
            Step::PeerAddress => Action::PeerAddress,
            Step::OpenOther | Step::Resolve => return None,
        })
    }
}

/// When the records of a function matter to this decoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Matters {
    /// Never.
    Never,
    /// While [`Connections::knows_sockets`](super::Connections::knows_sockets).
    WithSockets,
    /// Always: only sockets have it.
    Always,
}

/// What of a record is in its payload that this decoder wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Payload {
    /// Nothing.
    Nothing,
    /// The bytes that were sent or received, from which [protocols](super::Connection::protocol),
    /// names, lookups and TLS are known. Connections and their states are the same without.
    Content,
    /// Addresses, the record's note, or how much was moved: without it rows are wrong.
    Needed,
}

static STEPS: LazyLock<Vec<Option<Step>>> = LazyLock::new(|| {
    let mut all = Vec::new();
    for row in function::functions() {
        let at = usize::from(row.id.0);
        if all.len() <= at {
            all.resize(at + 1, None);
        }
        all[at] = step_of(row);
    }
    all
});

pub(super) fn step(id: FunctionId) -> Option<Step> {
    STEPS.get(usize::from(id.0)).copied().flatten()
}

fn step_of(row: &Function) -> Option<Step> {
    if row.module != wasi::MODULE {
        return None;
    }
    Some(match row.name {
        "sock_open" => Step::Open,
        "sock_bind" => Step::Bind,
        "sock_connect" => Step::Connect,
        "sock_listen" => Step::Listen,
        "sock_accept" => Step::Accept,
        "sock_send" | "sock_send_to" => Step::Send,
        "sock_recv" | "sock_recv_from" => Step::Receive,
        "fd_write" => Step::Write,
        "fd_read" => Step::Read,
        "sock_shutdown" => Step::Shutdown,
        "fd_close" => Step::Close,
        "fd_renumber" => Step::Renumber,
        "sock_getsockopt" => Step::GetOption,
        "sock_setsockopt" => Step::SetOption,
        "sock_getlocaladdr" => Step::LocalAddress,
        "sock_getpeeraddr" => Step::PeerAddress,
        "sock_getaddrinfo" => Step::Resolve,
        _ => {
            let opens = row.position(|k| k == Kind::Out(Scalar::Fd));
            return opens.map(|_| Step::OpenOther);
        }
    })
}

/// When records of that function matter: who wants connections can leave out all others.
#[must_use]
pub fn matters(id: FunctionId) -> Matters {
    match step(id) {
        Some(Step::OpenOther | Step::Write | Step::Read | Step::Close | Step::Renumber) => {
            Matters::WithSockets
        }
        Some(_) => Matters::Always,
        // Sockets may have come in a gap.
        None if id == FunctionId::GAP => Matters::Always,
        None if id == FunctionId::END => Matters::WithSockets,
        None => Matters::Never,
    }
}

/// What of a record's payload is wanted, from what is known of it without: its function, how it
/// ended, what it returned, and how many bytes it says that it moved.
#[must_use]
pub fn payload_wanted(
    id: FunctionId,
    outcome: Outcome,
    result: u64,
    moved: Option<u64>,
) -> Payload {
    let Some(step) = step(id) else {
        return match id {
            FunctionId::END => Payload::Needed,
            _ => Payload::Nothing,
        };
    };
    match step {
        Step::OpenOther | Step::Close | Step::Renumber | Step::Shutdown | Step::Open => {
            Payload::Nothing
        }
        Step::Resolve | Step::SetOption => Payload::Content,
        Step::Bind
        | Step::Connect
        | Step::Listen
        | Step::Accept
        | Step::GetOption
        | Step::LocalAddress
        | Step::PeerAddress => Payload::Needed,
        Step::Send | Step::Receive | Step::Write | Step::Read => {
            let has_address = function::by_id(id).is_some_and(|row| {
                row.position(|k| matches!(k, Kind::Address | Kind::OutAddress))
                    .is_some()
            });
            let sends = matches!(step, Step::Send | Step::Write);
            // How much a write took that was interrupted, and how much was asked for where nothing
            // came, is known from the input alone; why a send was refused, from the note.
            let counts = outcome == Outcome::Interrupted && sends
                || outcome == Outcome::Returned && !matches!(result, 0 | errno::EAGAIN) && sends
                || result == 0 && moved == Some(0) && !sends;
            match has_address || counts {
                true => Payload::Needed,
                false => Payload::Content,
            }
        }
    }
}
