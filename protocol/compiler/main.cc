// The schema compiler.
//
//   schema_compiler SCHEMA OUT_DIR        writes OUT_DIR/NAME.h and OUT_DIR/NAME.cc
//   schema_compiler --all OUT_DIR SCHEMA...   checks them against each other; writes api_table.h and all.h
//
// A file whose content would not change is left alone, so that nothing depending on it is built again.
// Exit codes: 0 done, 1 a schema is wrong or a file can't be read or written (said on stderr), 2 usage.
#include <cstdio>
#include <fstream>
#include <iostream>
#include <sstream>
#include <string>
#include <vector>

#include "checker.h"
#include "emitter.h"
#include "parser.h"

namespace millrace::compiler {
namespace {

std::optional<std::string> read_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) return std::nullopt;
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

bool write_if_changed(const std::string& path, const std::string& text) {
  if (read_file(path) == text) return true;
  std::ofstream out(path, std::ios::binary | std::ios::trunc);
  out << text;
  out.close();
  if (!out) std::cerr << path << ": can't be written; check the directory\n";
  return static_cast<bool>(out);
}

void report(const std::string& file, const Problem& problem) {
  std::cerr << file << ":" << problem.line << ": error: " << problem.text << "\n";
}

std::optional<Schema> load(const std::string& path) {
  const auto text = read_file(path);
  if (!text) {
    std::cerr << path << ": can't be read; check the name\n";
    return std::nullopt;
  }
  std::vector<Problem> problems;
  Schema schema = parse(*text, path, problems);
  // What couldn't be read would only make the checker complain about what is missing.
  if (problems.empty()) check(schema, problems);
  for (const Problem& problem : problems) report(path, problem);
  if (!problems.empty()) return std::nullopt;
  return schema;
}

bool compile(const std::string& path, const std::string& out_dir) {
  const auto schema = load(path);
  if (!schema) return false;
  const std::string base = out_dir + "/" + file_stem(*schema);
  return write_if_changed(base + ".h", emit_header(*schema)) &&
         write_if_changed(base + ".cc", emit_source(*schema));
}

bool compile_all(const std::string& out_dir, const std::vector<std::string>& paths) {
  std::vector<Schema> schemas;
  for (const std::string& path : paths) {
    auto schema = load(path);
    if (schema) schemas.push_back(std::move(*schema));
  }
  if (schemas.size() != paths.size()) return false;
  const auto problems = check_together(schemas);
  for (const FileProblem& found : problems) report(found.file, found.problem);
  if (!problems.empty()) return false;
  return write_if_changed(out_dir + "/api_table.h", emit_table(schemas)) &&
         write_if_changed(out_dir + "/all.h", emit_all(schemas));
}

int run(const std::vector<std::string>& arguments) {
  if (arguments.size() >= 3 && arguments[0] == "--all") {
    return compile_all(arguments[1], {arguments.begin() + 2, arguments.end()}) ? 0 : 1;
  }
  if (arguments.size() == 2) return compile(arguments[0], arguments[1]) ? 0 : 1;
  std::cerr << "usage: schema_compiler SCHEMA OUT_DIR\n       schema_compiler --all OUT_DIR SCHEMA...\n";
  return 2;
}

}  // namespace
}  // namespace millrace::compiler

int main(int argc, char** argv) { return millrace::compiler::run({argv + 1, argv + argc}); }
