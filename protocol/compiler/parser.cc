#include "parser.h"

#include <charconv>
#include <utility>

#include "names.h"

namespace millrace::compiler {
namespace {

struct Line {
  int number = 0;
  size_t indent = 0;
  std::vector<std::string> words;
};

std::string quoted(std::string_view word) { return "'" + std::string(word) + "'"; }

std::optional<int> parse_number(std::string_view word) {
  int value = 0;
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value);
  if (error != std::errc() || end != word.data() + word.size() || value < 0) return std::nullopt;
  return value;
}

// "3", "0-4" or "3+".
std::optional<VersionRange> parse_range(std::string_view word) {
  if (word.ends_with('+')) {
    const auto first = parse_number(word.substr(0, word.size() - 1));
    if (!first) return std::nullopt;
    return VersionRange{*first, VersionRange::kOpen};
  }
  const size_t dash = word.find('-');
  const auto first = parse_number(word.substr(0, dash));
  const auto last = dash == std::string_view::npos ? first : parse_number(word.substr(dash + 1));
  if (!first || !last) return std::nullopt;
  return VersionRange{*first, *last};
}

class Parser {
 public:
  Parser(std::string_view text, std::vector<Problem>& problems) : problems_(problems) { split(text); }

  void run(Schema& schema) {
    schema.notes = std::move(notes_);
    if (lines_.empty()) {
      problem(1, "the file describes nothing; begin with 'api NAME KEY versions RANGE flexible RANGE'");
      return;
    }
    VersionRange versions;
    std::optional<VersionRange> flexible;
    declaration(schema, versions, flexible);
    while (next_ < lines_.size()) section(schema, versions, flexible);
  }

 private:
  void problem(int line, std::string text) { problems_.push_back({line, std::move(text)}); }

  void split(std::string_view text) {
    for (int number = 1; !text.empty(); ++number) {
      const size_t end = text.find('\n');
      split_line(text.substr(0, end), number);
      text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    }
  }

  void split_line(std::string_view text, int number) {
    const size_t hash = text.find('#');
    if (hash != std::string_view::npos) {
      const bool whole_line = text.find_first_not_of(' ') == hash;
      if (lines_.empty() && whole_line) notes_.emplace_back(text.substr(hash + 1));
      text = text.substr(0, hash);
    }
    if (text.find('\t') != std::string_view::npos) {
      problem(number, "a tab; indent and align with spaces");
      return;
    }
    Line line{.number = number, .indent = text.find_first_not_of(' ')};
    while (true) {
      const size_t start = text.find_first_not_of(" \r");
      if (start == std::string_view::npos) break;
      text.remove_prefix(start);
      const size_t size = std::min(text.find_first_of(" \r"), text.size());
      line.words.emplace_back(text.substr(0, size));
      text.remove_prefix(size);
    }
    if (!line.words.empty()) lines_.push_back(std::move(line));
  }

  // "api NAME KEY versions RANGE flexible RANGE" or "record NAME [KEY]".
  void declaration(Schema& schema, VersionRange& versions, std::optional<VersionRange>& flexible) {
    const Line& line = lines_[next_];
    if (line.words[0] != "api" && line.words[0] != "record") {
      problem(line.number,
              "the first line must be 'api NAME KEY versions RANGE flexible RANGE' or 'record NAME "
              "[KEY]', not " +
                  quoted(line.words[0]));
      return;
    }
    ++next_;
    schema.is_api = line.words[0] == "api";
    schema.line = line.number;
    if (line.indent != 0)
      problem(line.number, "the declaration stands at the start of its line; remove the indent");
    if (line.words.size() < 2) return problem(line.number, "a name must follow " + quoted(line.words[0]));
    schema.name = line.words[1];
    size_t word = 2;
    if (word < line.words.size() && line.words[word] != "versions") {
      schema.key = parse_number(line.words[word]);
      if (!schema.key)
        problem(line.number, quoted(line.words[word]) + " is no key; write its number, 0 or more");
      ++word;
    }
    if (schema.is_api) {
      version_words(line, word, versions, flexible);
    } else if (word < line.words.size()) {
      problem(line.number, "versions of a record belong to its sections: 'value versions 0-4 flexible 4+'");
    }
  }

  // "versions RANGE [flexible RANGE|none]" from `word` on.
  void version_words(const Line& line, size_t word, VersionRange& versions,
                     std::optional<VersionRange>& flexible) {
    bool has_versions = false;
    for (; word < line.words.size(); word += 2) {
      const std::string& key = line.words[word];
      if (key != "versions" && key != "flexible") {
        return problem(line.number,
                       "unknown word " + quoted(key) + "; 'versions' and 'flexible' are known here");
      }
      if (word + 1 == line.words.size()) return problem(line.number, "a range must follow " + quoted(key));
      const std::string& value = line.words[word + 1];
      if (key == "flexible" && value == "none") continue;
      const auto range = parse_range(value);
      if (!range) return bad_range(line, value);
      if (key == "versions") {
        versions = *range;
        has_versions = true;
      } else {
        flexible = *range;
      }
    }
    if (!has_versions) problem(line.number, "the versions are missing; add 'versions FIRST-LAST'");
  }

  void bad_range(const Line& line, const std::string& word) {
    problem(line.number, quoted(word) + " is no range of versions; write '3', '0-4' or '3+'");
  }

  void section(Schema& schema, VersionRange versions, std::optional<VersionRange> flexible) {
    const Line& line = lines_[next_++];
    if (line.indent != 0) {
      problem(line.number, "a field outside of a section; 'request' or 'response' must come before it");
      skip_body(0);
      return;
    }
    const std::string& name = line.words[0];
    if (schema.is_api) {
      if (name != "request" && name != "response") {
        problem(line.number, "unknown section " + quoted(name) + "; an api has 'request' and 'response'");
      }
      if (line.words.size() > 1)
        problem(line.number, quoted(line.words[1]) + " after the section's name; remove it");
    } else {
      version_words(line, 1, versions, flexible);
    }
    Message message{.versions = versions, .flexible = flexible};
    message.body.line = line.number;
    message.body.name = schema.name + pascal_case(name);
    body(message.body, 0);
    schema.messages.push_back(std::move(message));
  }

  void skip_body(size_t indent) {
    while (next_ < lines_.size() && lines_[next_].indent > indent) ++next_;
  }

  // The lines that are indented deeper than `outer`, all by the same amount.
  void body(Struct& into, size_t outer) {
    if (next_ == lines_.size() || lines_[next_].indent <= outer) return;
    const size_t indent = lines_[next_].indent;
    while (next_ < lines_.size() && lines_[next_].indent > outer) {
      const Line& line = lines_[next_];
      if (line.indent != indent) {
        problem(line.number, "indented by " + std::to_string(line.indent) + " where its neighbours have " +
                                 std::to_string(indent) + "; align it with them");
      }
      ++next_;
      if (line.words[0] == "struct") {
        struct_line(line, into);
      } else {
        field_line(line, into);
      }
    }
  }

  void struct_line(const Line& line, Struct& into) {
    if (line.words.size() != 2) {
      problem(line.number, "write 'struct NAME', and its fields below, indented");
      return skip_body(line.indent);
    }
    nested(line, line.words[1], into);
  }

  void nested(const Line& line, const std::string& name, Struct& into) {
    auto structure = std::make_unique<Struct>();
    structure->line = line.number;
    structure->name = name;
    body(*structure, line.indent);
    into.structs.push_back(std::move(structure));
  }

  // "NAME TYPE [RANGE] [nullable RANGE] [ignorable] [tag N] [= DEFAULT]", a struct's fields indented below.
  void field_line(const Line& line, Struct& into) {
    Field field{.line = line.number, .name = line.words[0]};
    if (line.words.size() < 2) {
      problem(line.number, "the type of " + quoted(field.name) + " is missing; write 'NAME TYPE [VERSIONS]'");
      return skip_body(line.indent);
    }
    std::string_view type = line.words[1];
    if (type.starts_with("[]")) {
      field.is_array = true;
      type.remove_prefix(2);
    }
    if (type.ends_with('?')) {
      field.nullable = true;
      type.remove_suffix(1);
    }
    field.type = type;
    attributes(line, field);
    const bool has_body = next_ < lines_.size() && lines_[next_].indent > line.indent;
    if (has_body) nested(line, field.type, into);
    into.fields.push_back(std::move(field));
  }

  void attributes(const Line& line, Field& field) {
    for (size_t i = 2; i < line.words.size(); ++i) {
      const std::string& word = line.words[i];
      const std::string value = i + 1 < line.words.size() ? line.words[i + 1] : "";
      if (word[0] >= '0' && word[0] <= '9') {
        if (field.versions)
          return problem(line.number, "a second range " + quoted(word) + "; a field has one");
        field.versions = parse_range(word);
        if (!field.versions) return bad_range(line, word);
      } else if (word == "ignorable") {
        field.ignorable = true;
      } else if (word == "nullable") {
        field.nullable = true;
        field.nullable_versions = parse_range(value);
        if (!field.nullable_versions) return bad_range(line, value);
        ++i;
      } else if (word == "tag") {
        field.tag = parse_number(value);
        if (!field.tag)
          return problem(line.number, quoted(value) + " is no tag; write its number, 0 or more");
        ++i;
      } else if (word == "=") {
        if (value.empty()) return problem(line.number, "a value must follow '='");
        field.default_value = value;
        ++i;
      } else {
        const std::string hint = nearest(word, {"ignorable", "nullable", "tag"});
        return problem(line.number,
                       "unknown word " + quoted(word) +
                           (hint.empty() ? "" : "; is it " + quoted(hint) + "?") +
                           " Known are a range, 'ignorable', 'nullable RANGE', 'tag N', '= DEFAULT'");
      }
    }
  }

  std::vector<Problem>& problems_;
  std::vector<Line> lines_;
  std::vector<std::string> notes_;
  size_t next_ = 0;
};

}  // namespace

Schema parse(std::string_view text, const std::string& file, std::vector<Problem>& problems) {
  Schema schema;
  schema.file = file;
  Parser(text, problems).run(schema);
  return schema;
}

}  // namespace millrace::compiler
