//! Paths of URLs as the routes that they are of: `/users/123` is of `/users/{id}`.
//!
//! It looks at each segment alone and knows no routes, so it can only guess; what it takes for an
//! identifier is written at [`path_template`]. All kinds of identifiers become the same `{id}`: a hash
//! of which all digits happen to be decimal would otherwise be of another route than the next hash.

/// What stands for an identifier.
const ID: &str = "{id}";
/// A hexadecimal number shorter than this is more often a word.
const MIN_HEX: usize = 8;
/// A token shorter than this is more often a word.
const MIN_TOKEN: usize = 20;
/// The longest extension of a file's name.
const MAX_EXTENSION: usize = 5;

/// The path with `{id}` for each segment that is an identifier:
///
/// - a decimal number, also several with `-`, `_` or `,` between: `42`, `2023-06-28`, `1,2,3`;
/// - a UUID, also in braces;
/// - hexadecimal digits, at least 8 with a decimal one among them, or any after `0x`: hashes,
///   ObjectIds;
/// - a token, of at least 20 characters of base64url: with upper case, lower case and a digit; or
///   without `-` and `_`, and a fifth of it digits, as ULIDs;
/// - one of these with the extension of a file, which stays: `/images/{id}.png`.
///
/// What follows a `?` or `#` is no part of a path and is left out.
#[must_use]
pub fn path_template(path: &str) -> String {
    let path = path.split(['?', '#']).next().unwrap_or_default();
    let mut out = String::with_capacity(path.len());
    for (at, segment) in path.split('/').enumerate() {
        if at > 0 {
            out.push('/');
        }
        if is_id(segment) {
            out.push_str(ID);
            continue;
        }
        match segment.rsplit_once('.') {
            Some((stem, extension)) if is_id(stem) && is_extension(extension) => {
                out.push_str(ID);
                out.push('.');
                out.push_str(extension);
            }
            _ => out.push_str(segment),
        }
    }
    out
}

fn is_id(segment: &str) -> bool {
    let bytes = segment.as_bytes();
    is_number(bytes) || is_uuid(bytes) || is_hexadecimal(bytes) || is_token(bytes)
}

fn is_number(segment: &[u8]) -> bool {
    let mut parts = segment.split(|byte| b"-_,".contains(byte));
    parts.all(|part| !part.is_empty() && part.iter().all(u8::is_ascii_digit))
}

fn is_uuid(segment: &[u8]) -> bool {
    const DASHES: [usize; 4] = [8, 13, 18, 23];
    let bare = segment
        .strip_prefix(b"{")
        .and_then(|segment| segment.strip_suffix(b"}"))
        .unwrap_or(segment);
    let fits = |(at, byte): (usize, &u8)| match DASHES.contains(&at) {
        true => *byte == b'-',
        false => byte.is_ascii_hexdigit(),
    };
    bare.len() == 36 && bare.iter().enumerate().all(fits)
}

fn is_hexadecimal(segment: &[u8]) -> bool {
    let is_hex = |digits: &[u8]| !digits.is_empty() && digits.iter().all(u8::is_ascii_hexdigit);
    match segment.strip_prefix(b"0x") {
        Some(digits) => is_hex(digits),
        None => {
            segment.len() >= MIN_HEX
                && is_hex(segment)
                && segment.iter().any(|byte| byte.is_ascii_digit())
        }
    }
}

fn is_token(segment: &[u8]) -> bool {
    let end = segment.iter().rposition(|&byte| byte != b'=');
    let token = segment.get(..end.map_or(0, |end| end + 1));
    let token = token.unwrap_or_default();
    let mut digits = 0;
    let [mut upper, mut lower, mut separated] = [false; 3];
    for byte in token {
        match byte {
            b'0'..=b'9' => digits += 1,
            b'A'..=b'Z' => upper = true,
            b'a'..=b'z' => lower = true,
            b'-' | b'_' => separated = true,
            _ => return false,
        }
    }
    let is_mixed = upper && lower && digits > 0;
    let is_dense = !separated && digits * 5 >= token.len();
    token.len() >= MIN_TOKEN && (is_mixed || is_dense)
}

fn is_extension(extension: &str) -> bool {
    let bytes = extension.as_bytes();
    bytes.first().is_some_and(u8::is_ascii_alphabetic)
        && bytes.len() <= MAX_EXTENSION
        && bytes.iter().all(u8::is_ascii_alphanumeric)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_are_replaced() {
        for path in [
            "/users/123/posts",
            "/users/2023-06-28/posts",
            "/users/1,2,3/posts",
            "/users/018f5d4e-7a2b-7c3d-8e4f-0123456789ab/posts",
            "/users/{018F5D4E-7A2B-7C3D-8E4F-0123456789AB}/posts",
            "/users/507f1f77bcf86cd799439011/posts",
            "/users/9f86d081/posts",
            "/users/0xff/posts",
            "/users/dQw4w9WgXcQ-dQw4w9WgXcQ/posts",
            "/users/01ARZ3NDEKTSV4RRFFQ69G5FAV/posts",
            "/users/cjld2cjxh0000qzrmn831i7rn/posts",
            "/users/QWxhZGRpbjpvcGVuIHNlc2FtZTEyMw==/posts",
            "/users/7/posts?page=2",
            "/users/7/posts#8",
        ] {
            assert_eq!(path_template(path), "/users/{id}/posts", "{path}");
        }
        assert_eq!(path_template("/img/42.png"), "/img/{id}.png");
        assert_eq!(path_template("/7"), "/{id}");
        assert_eq!(path_template("//7//"), "//{id}//");
    }

    #[test]
    fn words_stay() {
        for path in [
            "",
            "/",
            "*",
            "/v1/users/me",
            "/deadbeef",
            "/facade1",
            "/how-to-build-a-house-in-2-days",
            "/InternationalizationOfNames",
            "/internationalization2",
            "/1.0/version",
            "/-/_/,",
            "/order-123",
            "/0x",
            "/größe/%7Ename",
            "/====================",
        ] {
            assert_eq!(path_template(path), path);
        }
    }
}
