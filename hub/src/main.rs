//! The doorway of the hub: everything is in the library.

use std::io::Write;
use std::process::ExitCode;

fn main() -> ExitCode {
    let (mut out, mut err) = (std::io::stdout().lock(), std::io::stderr());
    let code = huitong_hub::cli::main_from(std::env::args_os(), &mut out, &mut err);
    match out.flush() {
        Ok(()) => ExitCode::from(code),
        Err(_) => ExitCode::FAILURE,
    }
}
