#include "broker/runtime/logging.h"

#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

#include <memory>
#include <mutex>

namespace millrace::runtime {
namespace {

// Writes the message as a JSON string.
class JsonMessage final : public spdlog::custom_flag_formatter {
 public:
  void format(const spdlog::details::log_msg& message, const std::tm&, spdlog::memory_buf_t& out) override {
    constexpr std::string_view kHex = "0123456789abcdef";
    auto append = [&out](std::string_view text) { out.append(text.data(), text.data() + text.size()); };
    append("\"");
    for (const char c : message.payload) {
      const auto byte = static_cast<unsigned char>(c);
      if (c == '"' || c == '\\') {
        out.push_back('\\');
        out.push_back(c);
      } else if (c == '\n') {
        append("\\n");
      } else if (byte < 0x20) {
        append("\\u00");
        out.push_back(kHex[byte >> 4]);
        out.push_back(kHex[byte & 15]);
      } else {
        out.push_back(c);
      }
    }
    append("\"");
  }
  std::unique_ptr<custom_flag_formatter> clone() const override { return std::make_unique<JsonMessage>(); }
};

std::unique_ptr<spdlog::formatter> formatter_for(LogFormat format) {
  auto formatter = std::make_unique<spdlog::pattern_formatter>();
  if (format == LogFormat::kJson) {
    formatter->add_flag<JsonMessage>('*').set_pattern(
        R"({"time":"%Y-%m-%dT%H:%M:%S.%e%z","level":"%l","thread":%t,"message":%*})");
  } else {
    formatter->set_pattern("%Y-%m-%d %H:%M:%S.%e %^%-7l%$ %v");
  }
  return formatter;
}

spdlog::logger& logger() {
  static const auto instance = [] {
    // The sink colours only when stderr is a terminal.
    auto created =
        std::make_shared<spdlog::logger>("millrace", std::make_shared<spdlog::sinks::stderr_color_sink_mt>());
    created->set_formatter(formatter_for(LogFormat::kText));
    created->set_level(spdlog::level::trace);
    return created;
  }();
  return *instance;
}

spdlog::level::level_enum spdlog_level(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return spdlog::level::debug;
    case LogLevel::kInfo:
      return spdlog::level::info;
    case LogLevel::kWarning:
      return spdlog::level::warn;
    case LogLevel::kError:
      return spdlog::level::err;
    case LogLevel::kOff:
      break;
  }
  return spdlog::level::off;
}

}  // namespace

std::atomic<LogLevel> detail::log_level = LogLevel::kInfo;

void detail::write_log(LogLevel level, std::string_view message) {
  logger().log(spdlog_level(level), spdlog::string_view_t(message.data(), message.size()));
}

void set_up_logging(LogLevel level, LogFormat format) {
  detail::log_level = level;
  logger().set_formatter(formatter_for(format));
}

bool parse_log_level(std::string_view text, LogLevel& level) {
  if (text == "debug") return level = LogLevel::kDebug, true;
  if (text == "info") return level = LogLevel::kInfo, true;
  if (text == "warning" || text == "warn") return level = LogLevel::kWarning, true;
  if (text == "error") return level = LogLevel::kError, true;
  if (text == "off") return level = LogLevel::kOff, true;
  return false;
}

}  // namespace millrace::runtime
