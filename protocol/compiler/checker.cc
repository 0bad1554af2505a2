#include "checker.h"

#include <map>
#include <set>

#include "names.h"
#include "primitives.h"

namespace millrace::compiler {
namespace {

constexpr int kMaxVersion = 0x7ffe;

std::string quoted(const std::string& word) { return "'" + word + "'"; }

std::string to_text(const VersionRange& range) {
  if (range.first == range.last) return std::to_string(range.first);
  if (range.last == VersionRange::kOpen) return std::to_string(range.first) + "+";
  return std::to_string(range.first) + "-" + std::to_string(range.last);
}

// Generated structs stand beside these.
const std::set<std::string> kTakenNames = {"Array", "Arena",   "ApiKey", "Bytes", "ErrorCode",
                                           "Field", "Records", "Result", "Uuid",  "Writer"};

class Checker {
 public:
  Checker(Message& message, std::vector<Problem>& problems) : message_(message), problems_(problems) {}

  void run() {
    check_versions();
    message_.body.full_name = message_.body.name;
    message_.body.is_used = true;
    check_struct(message_.body, message_.versions);
    check_used(message_.body);
  }

 private:
  void problem(int line, std::string text) { problems_.push_back({line, std::move(text)}); }

  void check_versions() {
    VersionRange& versions = message_.versions;
    const int line = message_.body.line;
    if (versions.last == VersionRange::kOpen) {
      problem(line, "the versions " + to_text(versions) + " have no end; write the last one");
      versions.last = versions.first;
    }
    if (versions.first > versions.last || versions.last > kMaxVersion) {
      problem(line, "the versions " + to_text(versions) + " run backwards or too far; write FIRST-LAST");
    }
    if (message_.flexible && message_.flexible->last != VersionRange::kOpen) {
      problem(line, "a message that is flexible stays so; write 'flexible " +
                        std::to_string(message_.flexible->first) + "+'");
    }
    if (message_.flexible && message_.flexible->first > versions.last) {
      problem(line, "no version of " + to_text(versions) + " is flexible; write 'flexible none'");
    }
  }

  void check_struct(Struct& structure, const VersionRange& versions) {
    scopes_.push_back(&structure);
    check_names(structure);
    for (auto& nested : structure.structs) {
      nested->full_name = structure.full_name + "::" + nested->name;
      VersionRange nested_versions = versions;
      for (const Field& field : structure.fields) {
        if (field.type == nested->name && field.versions) nested_versions = closed(*field.versions, versions);
      }
      check_struct(*nested, nested_versions);
    }
    for (Field& field : structure.fields) check_field(field, versions);
    check_tags(structure);
    scopes_.pop_back();
  }

  // "3+" ends where that ends to which it belongs.
  static VersionRange closed(VersionRange range, const VersionRange& within) {
    if (range.last == VersionRange::kOpen) range.last = within.last;
    return range;
  }

  void check_names(const Struct& structure) {
    if (structure.fields.empty() && &structure != &message_.body) {
      problem(structure.line, "struct " + structure.name + " has no fields; indent them below it");
    }
    std::set<std::string> names;
    for (const Field& field : structure.fields) {
      if (!is_snake_case(field.name)) {
        problem(field.line, quoted(field.name) + " is no field name; write it in snake_case");
      } else if (is_reserved(field.name)) {
        problem(field.line, quoted(field.name) + " is a word of C++; choose another name");
      }
      if (!names.insert(field.name).second) {
        problem(field.line, "a second field " + quoted(field.name) + "; rename one of them");
      }
    }
    for (const auto& nested : structure.structs) {
      if (!is_pascal_case(nested->name)) {
        problem(nested->line,
                quoted(nested->name) + " is no struct name; write it in PascalCase" +
                    (find_primitive(nested->name) ? ", or remove the indent below this field" : ""));
      } else if (kTakenNames.contains(nested->name) || nested->name == structure.name) {
        problem(nested->line, "the name " + quoted(nested->name) + " is taken; choose another one");
      }
      if (!names.insert(nested->name).second) {
        problem(nested->line,
                "a second struct " + quoted(nested->name) + "; declare it once, before its first use");
      }
    }
  }

  void check_field(Field& field, const VersionRange& allowed) {
    if (!field.versions) {
      field.versions = allowed;
    } else {
      *field.versions = closed(*field.versions, allowed);
      if (field.versions->first > field.versions->last) {
        problem(field.line, "the versions " + to_text(*field.versions) + " run backwards; write FIRST-LAST");
      } else if (!allowed.contains(*field.versions)) {
        problem(field.line, "the versions " + to_text(*field.versions) + " go beyond " + to_text(allowed) +
                                ", those of what it belongs to; write only what lies within");
      }
    }
    resolve(field);
    check_nullable(field);
    check_default(field);
    if (field.ignorable && *field.versions == allowed) {
      problem(field.line,
              quoted(field.name) +
                  " is in every version of what it belongs to, where 'ignorable' means nothing; remove it");
    }
  }

  void resolve(Field& field) {
    if (find_primitive(field.type) != nullptr) {
      if (field.is_array && field.type == "records")
        problem(field.line, "records are one blob; write 'records'");
      return;
    }
    for (auto scope = scopes_.rbegin(); scope != scopes_.rend(); ++scope) {
      for (const auto& nested : (*scope)->structs) {
        if (nested->name != field.type) continue;
        field.structure = nested.get();
        nested->is_used = true;
        if (field.is_array) nested->is_element = true;
        return;
      }
    }
    auto known = primitive_names();
    for (const Struct* scope : scopes_) {
      for (const auto& nested : scope->structs) known.push_back(nested->name);
    }
    const std::string hint = nearest(field.type, known);
    problem(field.line, "unknown type " + quoted(field.type) +
                            (hint.empty() ? "; use a primitive type, or indent the fields of a struct below"
                                          : "; is it " + quoted(hint) + "?"));
  }

  void check_nullable(Field& field) {
    if (!field.nullable) return;
    const Primitive* primitive = find_primitive(field.type);
    if (primitive != nullptr && !primitive->nullable && !field.is_array) {
      problem(field.line, quoted(field.type) + " has no null; remove the '?'");
    }
    if (!field.nullable_versions) {
      field.nullable_versions = field.versions;
      return;
    }
    *field.nullable_versions = closed(*field.nullable_versions, *field.versions);
    if (*field.nullable_versions == *field.versions) {
      problem(field.line, "nullable in all its versions; write '" + field.type + "?'");
    } else if (!field.versions->contains(*field.nullable_versions)) {
      problem(field.line, "nullable in versions " + to_text(*field.nullable_versions) + " but present in " +
                              to_text(*field.versions) + "; write only what lies within");
    }
  }

  void check_default(const Field& field) {
    if (!field.default_value) return;
    const std::string& value = *field.default_value;
    if (value == "null") {
      if (!field.nullable) problem(field.line, "the default is null but the type isn't nullable; add '?'");
      return;
    }
    const Primitive* primitive = find_primitive(field.type);
    if (field.is_array || primitive == nullptr || !is_value(*primitive, value)) {
      problem(field.line, quoted(value) + " is no value of type " + (field.is_array ? "[]" : "") +
                              field.type + "; correct it or leave the default out");
    }
  }

  void check_tags(const Struct& structure) {
    std::map<int, int> lines;
    for (const Field& field : structure.fields) {
      if (!field.tag) continue;
      if (!message_.flexible || field.versions->first < message_.flexible->first) {
        problem(field.line, "tagged fields exist in flexible versions only; begin its versions there");
      }
      if (!lines.emplace(*field.tag, field.line).second) {
        problem(field.line, "tag " + std::to_string(*field.tag) + " is taken by line " +
                                std::to_string(lines[*field.tag]) + "; take the next free one");
      }
      if (field.type == "records") problem(field.line, "records can't be tagged; remove the tag");
    }
    if (!lines.empty() && lines.rbegin()->first != static_cast<int>(lines.size()) - 1) {
      problem(lines.rbegin()->second, "the tags of a struct count from 0 without gaps; renumber them");
    }
  }

  void check_used(const Struct& structure) {
    for (const auto& nested : structure.structs) {
      if (!nested->is_used) problem(nested->line, "struct " + nested->name + " is never used; remove it");
      check_used(*nested);
    }
  }

  Message& message_;
  std::vector<Problem>& problems_;
  std::vector<Struct*> scopes_;
};

void check_sections(const Schema& schema, std::vector<Problem>& problems) {
  std::map<std::string, int> lines;
  for (const Message& message : schema.messages) {
    if (!lines.emplace(message.body.name, message.body.line).second) {
      problems.push_back({message.body.line, "a second section of this name; the first is at line " +
                                                 std::to_string(lines[message.body.name])});
    }
  }
  if (!schema.is_api) return;
  for (const char* section : {"Request", "Response"}) {
    if (!lines.contains(schema.name + section)) {
      problems.push_back({schema.line, "the " + snake_case(section) + " is missing; add its section"});
    }
  }
}

}  // namespace

void check(Schema& schema, std::vector<Problem>& problems) {
  if (!is_pascal_case(schema.name)) {
    problems.push_back({schema.line, quoted(schema.name) + " is no name; write it in PascalCase"});
  }
  const size_t slash = schema.file.find_last_of('/');
  const std::string file = schema.file.substr(slash == std::string::npos ? 0 : slash + 1);
  const std::string expected = snake_case(schema.name) + (schema.is_api ? ".api" : ".record");
  if (file != expected) {
    problems.push_back(
        {schema.line, quoted(schema.name) + " belongs into a file " + expected + "; rename one of them"});
  }
  if (schema.is_api && !schema.key) {
    problems.push_back({schema.line, "the key is missing; write 'api " + schema.name + " KEY versions ...'"});
  }
  check_sections(schema, problems);
  for (Message& message : schema.messages) Checker(message, problems).run();
}

std::vector<FileProblem> check_together(const std::vector<Schema>& schemas) {
  std::vector<FileProblem> problems;
  std::map<int, const Schema*> keys;
  for (const Schema& schema : schemas) {
    if (!schema.is_api || !schema.key) continue;
    const auto [other, is_new] = keys.emplace(*schema.key, &schema);
    if (is_new) continue;
    problems.push_back({schema.file,
                        {schema.line, "key " + std::to_string(*schema.key) + " is taken by " +
                                          other->second->file + "; correct one of them"}});
  }
  return problems;
}

}  // namespace millrace::compiler
