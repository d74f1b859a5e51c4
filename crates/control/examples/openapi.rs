//! Prints the API's description; `cargo xtask openapi` writes it to its file.
#![allow(clippy::print_stdout)]

fn main() {
    print!("{}", control::description());
}
