#include "emitter.h"

#include <algorithm>

#include "field_code.h"
#include "names.h"

namespace millrace::compiler {
namespace {

std::string origin(const Schema& schema) {
  const size_t slash = schema.file.find_last_of('/');
  return "// Generated from " + schema.file.substr(slash == std::string::npos ? 0 : slash + 1) +
         "; edit that file instead.\n";
}

void emit_struct_body(const Struct& structure, const std::string& indent, std::string& out);

void emit_struct(const Struct& structure, const std::string& indent, std::string& out) {
  out += indent + "struct " + structure.name + " {\n";
  emit_struct_body(structure, indent + "  ", out);
  out += indent + "};\n";
}

void emit_struct_body(const Struct& structure, const std::string& indent, std::string& out) {
  for (const auto& nested : structure.structs) emit_struct(*nested, indent, out);
  for (const Field& field : structure.fields) {
    out += indent + cpp_type(field) + " " + field.name + initializer(field) + ";\n";
  }
}

void emit_message_struct(const Schema& schema, const Message& message, std::string& out) {
  const std::string flexible = message.flexible ? std::to_string(message.flexible->first) : "kNeverFlexible";
  out += "\nstruct " + message.body.name + " {\n";
  if (schema.is_api) out += "  static constexpr ApiKey kApi = ApiKey::k" + schema.name + ";\n";
  if (!schema.is_api && schema.key) {
    out += "  static constexpr int16_t kRecordType = " + std::to_string(*schema.key) + ";\n";
  }
  out += "  static constexpr std::string_view kName = \"" + message.body.name + "\";\n";
  out += "  static constexpr int16_t kMinVersion = " + std::to_string(message.versions.first) + ";\n";
  out += "  static constexpr int16_t kMaxVersion = " + std::to_string(message.versions.last) + ";\n";
  out += "  static constexpr int16_t kFirstFlexible = " + flexible + ";\n\n";
  emit_struct_body(message.body, "  ", out);
  out += "};\n\n";
  out += "template <>\nResult<" + message.body.name + "> decode<" + message.body.name +
         ">(Bytes in, int16_t version, Arena& arena);\n";
  out += "Result<> encode(const " + message.body.name + "& message, int16_t version, Writer& writer);\n";
  out += "std::string to_json(const " + message.body.name + "& message, int16_t version);\n";
}

// The sums for each version, where neighbouring versions with the same sum share a line.
void emit_min_size(const Struct& structure, const Message& message, std::string& out) {
  out += "static size_t min_encoded_size([[maybe_unused]] int16_t version, Tag<" + structure.full_name +
         ">) {\n";
  for (int version = message.versions.last; version >= message.versions.first;) {
    const int size = min_size(structure, message, version);
    int first = version;
    while (first > message.versions.first && min_size(structure, message, first - 1) == size) --first;
    const std::string condition =
        first == message.versions.first ? "" : "if (version >= " + std::to_string(first) + ") ";
    out += "  " + condition + "return " + std::to_string(size) + ";\n";
    version = first - 1;
  }
  out += "}\n\n";
}

// Innermost structs first.
void emit_visits(const Struct& structure, const Message& message, std::string& out) {
  for (const auto& nested : structure.structs) emit_visits(*nested, message, out);
  if (structure.is_element) emit_min_size(structure, message, out);
  out +=
      "template <class V, class S>\nstatic void visit([[maybe_unused]] V& visitor, [[maybe_unused]] S& s, "
      "Tag<" +
      structure.full_name + ">) {\n";
  std::vector<const Field*> tagged;
  for (const Field& field : structure.fields) {
    if (field.tag) {
      tagged.push_back(&field);
    } else {
      out += "  visitor.field(s." + field.name + ", " + description(field, message) + ", " +
             default_code(field) + ");\n";
    }
  }
  std::ranges::sort(tagged, {}, [](const Field* field) { return *field->tag; });
  if (message.flexible && tagged.empty()) out += "  visitor.tags([](auto&) {});\n";
  if (!tagged.empty()) {
    out += "  visitor.tags([&](auto& tags) {\n";
    for (const Field* field : tagged) {
      out += "    tags.field(" + std::to_string(*field->tag) + ", s." + field->name + ", " +
             description(*field, message) + ", " + default_code(*field) + ");\n";
    }
    out += "  });\n";
  }
  out += "}\n\n";
}

void emit_functions(const Message& message, std::string& out) {
  const std::string& name = message.body.name;
  out +=
      "template <>\nResult<" + name + "> decode<" + name + ">(Bytes in, int16_t version, Arena& arena) {\n";
  out += "  return read_message<" + name + ">(in, version, arena);\n}\n\n";
  out += "Result<> encode(const " + name + "& message, int16_t version, Writer& writer) {\n";
  out += "  return write_message(message, version, writer);\n}\n\n";
  out += "std::string to_json(const " + name +
         "& message, int16_t version) { return print_message(message, version); }\n\n";
}

std::vector<const Schema*> apis_by_key(const std::vector<Schema>& schemas) {
  std::vector<const Schema*> apis;
  for (const Schema& schema : schemas) {
    if (schema.is_api) apis.push_back(&schema);
  }
  std::ranges::sort(apis, {}, [](const Schema* schema) { return schema->key.value_or(-1); });
  return apis;
}

}  // namespace

std::string file_stem(const Schema& schema) {
  return snake_case(schema.name) + (schema.is_api ? "" : "_record");
}

std::string emit_header(const Schema& schema) {
  std::string out = origin(schema);
  for (const std::string& note : schema.notes) out += "//" + note + "\n";
  out += "#pragma once\n\n";
  if (schema.is_api) out += "#include \"protocol/api.h\"\n";
  out += "#include \"protocol/message.h\"\n\nnamespace millrace::protocol {\n";
  for (const Message& message : schema.messages) emit_message_struct(schema, message, out);
  out += "\n}  // namespace millrace::protocol\n";
  return out;
}

std::string emit_source(const Schema& schema) {
  std::string out = origin(schema) + "#include \"protocol/messages/" + file_stem(schema) + ".h\"\n\n";
  out += "#include \"protocol/codec.h\"\n\nnamespace millrace::protocol {\n\n";
  for (const Message& message : schema.messages) {
    emit_visits(message.body, message, out);
    emit_functions(message, out);
  }
  out += "}  // namespace millrace::protocol\n";
  return out;
}

std::string emit_table(const std::vector<Schema>& schemas) {
  const auto apis = apis_by_key(schemas);
  std::string out = "// Generated from all schemas; included by protocol/api.h only.\n#pragma once\n\n";
  out += "namespace millrace::protocol {\n\nenum class ApiKey : int16_t {\n";
  for (const Schema* api : apis) out += "  k" + api->name + " = " + std::to_string(*api->key) + ",\n";
  out += "};\n\ninline constexpr ApiInfo kApis[] = {\n";
  for (const Schema* api : apis) {
    const Message& request = api->messages.front();
    const std::string flexible =
        request.flexible ? std::to_string(request.flexible->first) : "kNeverFlexible";
    out += "    {ApiKey::k" + api->name + ", \"" + api->name + "\", " +
           std::to_string(request.versions.first) + ", " + std::to_string(request.versions.last) + ", " +
           flexible + "},\n";
  }
  out += "};\n\n}  // namespace millrace::protocol\n";
  return out;
}

std::string emit_all(const std::vector<Schema>& schemas) {
  std::string out =
      "// Generated from all schemas: every message, and the ways from a key or a name to its types.\n"
      "#pragma once\n\n";
  for (const Schema& schema : schemas) {
    out += "#include \"protocol/messages/" + file_stem(schema) + ".h\"\n";
  }
  out += "\nnamespace millrace::protocol {\n\n";
  out += "// Calls f.operator()<Request, Response>() for the API; false for a key without description.\n";
  out += "template <class F>\nbool with_api(ApiKey key, F&& f) {\n  switch (key) {\n";
  for (const Schema* api : apis_by_key(schemas)) {
    out += "    case ApiKey::k" + api->name + ":\n      f.template operator()<" + api->name + "Request, " +
           api->name + "Response>();\n      return true;\n";
  }
  out += "  }\n  return false;\n}\n\n";
  out += "// Calls f.operator()<Record>() for a struct of a .record file; false for a name that isn't one.\n";
  out += "template <class F>\nbool with_record(std::string_view name, F&& f) {\n";
  for (const Schema& schema : schemas) {
    for (const Message& message : schema.messages) {
      if (schema.is_api) continue;
      out += "  if (name == \"" + message.body.name + "\") return f.template operator()<" +
             message.body.name + ">(), true;\n";
    }
  }
  out += "  return false;\n}\n\n}  // namespace millrace::protocol\n";
  return out;
}

}  // namespace millrace::compiler
