//! Makes a new migration a reason to build again; the embedding macro alone does not notice new files.

fn main() {
    println!("cargo::rerun-if-changed=migrations");
}
