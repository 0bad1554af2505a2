#include "broker/config_file.h"

#include <fmt/format.h>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/parser.h>
#include <yaml-cpp/yaml.h>

#include <map>
#include <sstream>

namespace millrace::broker {
namespace {

ConfigPosition position_of(const YAML::Mark& mark) { return {mark.line + 1, mark.column + 1}; }

class Flattener {
 public:
  explicit Flattener(ParsedConfigFile& out) : out_(out) {}

  void map(const YAML::Node& node, const std::string& prefix, int depth) {
    for (const auto& entry : node) {
      if (full_) return;
      const ConfigPosition position = position_of(entry.first.Mark());
      if (!entry.first.IsScalar() || entry.first.Scalar().empty()) {
        error(position, "a key must be the name of a setting");
        continue;
      }
      value(entry.second, prefix + entry.first.Scalar(), position, depth);
    }
  }

 private:
  void value(const YAML::Node& node, const std::string& key, ConfigPosition position, int depth) {
    if (++visited_ > kMaxConfigLines) {
      if (!full_) error(position, fmt::format("more than {} keys", kMaxConfigLines));
      full_ = true;
    } else if (node.IsMap() && depth >= kMaxConfigDepth) {
      error(position, fmt::format("{}: nested more than {} deep", key, kMaxConfigDepth));
    } else if (node.IsMap()) {
      map(node, key + ".", depth + 1);
    } else if (node.IsSequence()) {
      sequence(node, key, position);
    } else if (node.IsScalar()) {
      add({key, node.Scalar(), false, position});
    } else {
      error(position, fmt::format("{} has no value; to set the empty text write ''", key));
    }
  }

  void sequence(const YAML::Node& node, const std::string& key, ConfigPosition position) {
    ConfigLine line{key, "", true, position};
    size_t count = 0;
    for (const YAML::Node& item : node) {
      if (!item.IsScalar() || item.Scalar().find(',') != std::string::npos || ++count > kMaxConfigLines) {
        error(position, fmt::format("{}: an item of a list must be one value, without commas", key));
        return;
      }
      if (count > 1) line.value += ',';
      line.value += item.Scalar();
    }
    add(std::move(line));
  }

  void add(ConfigLine line) {
    const auto [at, fresh] = first_.emplace(line.key, line.position);
    if (!fresh) {
      error(line.position, fmt::format("{} is already set in line {}", line.key, at->second.line));
      return;
    }
    out_.lines.push_back(std::move(line));
  }

  void error(ConfigPosition position, std::string message) {
    out_.errors.push_back({position, std::move(message)});
  }

  ParsedConfigFile& out_;
  std::map<std::string, ConfigPosition> first_;
  // Also bounds what aliases may expand to.
  size_t visited_ = 0;
  bool full_ = false;
};

// Looks at nothing but where a document starts.
class DocumentStart final : public YAML::EventHandler {
 public:
  void OnDocumentStart(const YAML::Mark& at) override { mark = at; }
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark&, YAML::anchor_t) override {}
  void OnAlias(const YAML::Mark&, YAML::anchor_t) override {}
  void OnScalar(const YAML::Mark&, const std::string&, YAML::anchor_t, const std::string&) override {}
  void OnSequenceStart(const YAML::Mark&, const std::string&, YAML::anchor_t,
                       YAML::EmitterStyle::value) override {}
  void OnSequenceEnd() override {}
  void OnMapStart(const YAML::Mark&, const std::string&, YAML::anchor_t, YAML::EmitterStyle::value) override {
  }
  void OnMapEnd() override {}

  YAML::Mark mark;
};

// YAML::Load ignores what follows the first document, and YAML::LoadAll doesn't end on some of it (", a: 1").
void check_single_document(const std::string& text, ParsedConfigFile& out) {
  std::istringstream in(text);
  YAML::Parser parser(in);
  DocumentStart document;
  if (!parser.HandleNextDocument(document) || !parser.HandleNextDocument(document)) return;
  out.errors.push_back(
      {position_of(document.mark), "a second document, or something that doesn't belong here"});
}

void parse(const std::string& text, ParsedConfigFile& out) {
  const YAML::Node document = YAML::Load(text);
  check_single_document(text, out);
  if (document.IsNull()) return;
  if (!document.IsMap()) {
    out.errors.push_back({position_of(document.Mark()), "expected settings, as `name: value`"});
    return;
  }
  Flattener(out).map(document, "", 1);
}

}  // namespace

ParsedConfigFile parse_config_file(std::string_view text) {
  ParsedConfigFile out;
  if (text.size() > kMaxConfigFileBytes) {
    out.errors.push_back({{1, 1}, fmt::format("larger than {} bytes", kMaxConfigFileBytes)});
    return out;
  }
  try {
    parse(std::string(text), out);
  } catch (const YAML::Exception& e) {
    out.errors.push_back({position_of(e.mark), e.msg});
  }
  return out;
}

}  // namespace millrace::broker
