#include "tools/record_format.h"

#include <fmt/format.h>

#include <charconv>

#include "tools/command.h"
#include "tools/escapes.h"
#include "tools/timestamp.h"

namespace millrace::tools {
namespace {

Result<std::vector<FormatPiece>> parse_pieces(std::string_view text, std::string_view letters) {
  std::vector<FormatPiece> pieces;
  std::string literal;
  // Escapes are read between the fields only, so that "\x25k" stays a literal percent sign.
  const auto flush = [&]() -> Result<void> {
    if (literal.empty()) return {};
    Result<std::string> text = unescape(literal);
    if (!text) return std::unexpected(text.error());
    if (!pieces.empty() && pieces.back().field == '\0') {
      pieces.back().literal += *text;
    } else {
      pieces.push_back({'\0', std::move(*text)});
    }
    literal.clear();
    return {};
  };
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      literal += text[i];
      continue;
    }
    const char letter = i + 1 < text.size() ? text[++i] : '\0';
    if (letter == '%') {
      literal += '%';
      continue;
    }
    if (letter == '\0' || letters.find(letter) == std::string_view::npos) {
      std::string known;
      for (const char c : letters) known += fmt::format("%{} ", c);
      return fail(ErrorCode::kInvalidRequest, fmt::format("format \"{}\": no field %{}; there are {}and %%",
                                                          text, letter == '\0' ? ' ' : letter, known));
    }
    if (Result<void> flushed = flush(); !flushed) return std::unexpected(flushed.error());
    pieces.push_back({letter, {}});
  }
  if (Result<void> flushed = flush(); !flushed) return std::unexpected(flushed.error());
  return pieces;
}

void append_headers(std::string& out, const ConsumedRecord& record) {
  bool first = true;
  for (const HeaderView& header : record.headers) {
    if (!first) out += ',';
    first = false;
    out.append(header.name).append("=");
    out += header.value.value_or("NULL");
  }
}

void append_size_bytes(std::string& out, size_t size) {
  for (int shift = 24; shift >= 0; shift -= 8) out += static_cast<char>(size >> shift & 0xFF);
}

std::string size_text(const std::optional<std::string_view>& field) {
  return field ? std::to_string(field->size()) : "-1";
}

Result<void> set_field(InputRecord& record, char field, std::string_view text) {
  const auto number = [&](auto& target) -> Result<void> {
    typename std::decay_t<decltype(target)>::value_type value{};
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size()) {
      return fail(ErrorCode::kInvalidRequest, fmt::format("%{}: \"{}\" is not a number", field, text));
    }
    target = value;
    return {};
  };
  switch (field) {
    case 'k':
      record.key = std::string(text);
      return {};
    case 's':
      record.value = std::string(text);
      return {};
    case 'p':
      return number(record.partition);
    case 'T':
      record.timestamp_ms = parse_timestamp_ms(text, wall_clock_ms());
      if (record.timestamp_ms) return {};
      return fail(ErrorCode::kInvalidRequest, fmt::format("%T: \"{}\" is not a time", text));
    default:
      break;
  }
  for (const std::string& header : split(text, ',')) {
    const size_t equals = header.find('=');
    if (equals == std::string::npos) {
      return fail(ErrorCode::kInvalidRequest, fmt::format("%h: \"{}\" is not NAME=VALUE", header));
    }
    record.headers.push_back({header.substr(0, equals), header.substr(equals + 1)});
  }
  return {};
}

}  // namespace

const std::string_view kOutputFormatHelp =
    R"(Format strings:
  %s value      %S its length       %k key        %K its length (-1: null)
  %t topic      %p partition        %o offset     %T timestamp (milliseconds since 1970)
  %h headers (a=1,b=2)              %R the value's length as four bytes, big-endian
  %% a percent sign; \n \t \r \0 \\ \xNN as usual. A null key or value is empty.
)";

const std::string_view kInputFormatHelp =
    R"(Format strings:
  %s value      %k key      %p partition      %T timestamp      %h headers (a=1,b=2)
  with literal text between the fields; what follows the last one ends a record (otherwise \n).
  %% a percent sign; \n \t \r \0 \\ \xNN as usual. Example: --format '%k\t%s\n'
)";

Result<OutputFormat> OutputFormat::parse(std::string_view text) {
  Result<std::vector<FormatPiece>> pieces = parse_pieces(text, "sSkKtpoThR");
  if (!pieces) return std::unexpected(pieces.error());
  OutputFormat format;
  format.pieces_ = std::move(*pieces);
  return format;
}

void OutputFormat::append(std::string& out, const ConsumedRecord& record) const {
  for (const FormatPiece& piece : pieces_) {
    switch (piece.field) {
      case 's':
        out += record.value.value_or("");
        break;
      case 'S':
        out += size_text(record.value);
        break;
      case 'k':
        out += record.key.value_or("");
        break;
      case 'K':
        out += size_text(record.key);
        break;
      case 't':
        out += record.topic;
        break;
      case 'p':
        out += std::to_string(record.partition);
        break;
      case 'o':
        out += std::to_string(record.offset);
        break;
      case 'T':
        out += std::to_string(record.timestamp_ms);
        break;
      case 'h':
        append_headers(out, record);
        break;
      case 'R':
        append_size_bytes(out, record.value ? record.value->size() : SIZE_MAX);
        break;
      default:
        out += piece.literal;
        break;
    }
  }
}

Result<InputFormat> InputFormat::parse(std::string_view text, std::string key_option) {
  Result<std::vector<FormatPiece>> pieces = parse_pieces(text, "skpTh");
  if (!pieces) return std::unexpected(pieces.error());
  InputFormat format;
  format.key_option_ = std::move(key_option);
  format.terminator_ = "\n";
  if (!pieces->empty() && pieces->back().field == '\0') {
    format.terminator_ = pieces->back().literal;
    pieces->pop_back();
  }
  for (size_t i = 0; i + 1 < pieces->size(); ++i) {
    if ((*pieces)[i].field == '\0' || (*pieces)[i + 1].field == '\0') continue;
    return fail(ErrorCode::kInvalidRequest,
                fmt::format("format \"{}\": nothing between %{} and %{} tells where one ends", text,
                            (*pieces)[i].field, (*pieces)[i + 1].field));
  }
  if (pieces->empty())
    return fail(ErrorCode::kInvalidRequest, fmt::format("format \"{}\" has no field", text));
  format.pieces_ = std::move(*pieces);
  return format;
}

Error InputFormat::lacks_delimiter(const FormatPiece& field, const std::string& delimiter) const {
  if (key_option_.empty())
    return {ErrorCode::kInvalidRequest, fmt::format("no \"{}\" after %{}", delimiter, field.field)};
  return {ErrorCode::kInvalidRequest,
          fmt::format("no \"{}\" in the line, so no key ({})", delimiter, key_option_)};
}

Result<InputRecord> InputFormat::read(std::string_view text) const {
  InputRecord record;
  for (size_t i = 0; i < pieces_.size(); ++i) {
    const FormatPiece& piece = pieces_[i];
    if (piece.field == '\0') {
      // Only a leading literal gets here; the others are taken with the field before them.
      if (!text.starts_with(piece.literal)) {
        return fail(ErrorCode::kInvalidRequest, fmt::format("doesn't start with \"{}\"", piece.literal));
      }
      text.remove_prefix(piece.literal.size());
      continue;
    }
    std::string_view field = text;
    if (i + 1 < pieces_.size()) {
      const std::string& delimiter = pieces_[++i].literal;
      const size_t at = text.find(delimiter);
      if (at == std::string_view::npos) {
        return std::unexpected(lacks_delimiter(piece, delimiter));
      }
      field = text.substr(0, at);
      text.remove_prefix(at + delimiter.size());
    }
    if (Result<void> set = set_field(record, piece.field, field); !set) return std::unexpected(set.error());
  }
  return record;
}

}  // namespace millrace::tools
