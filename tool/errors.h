// From an exception to one message and an exit code.
#pragma once

#include "context.h"
#include "ferry/error.h"

namespace ferry::tool {

/// Prints the error on stderr (and as JSON, where stdout carries JSON) and returns the exit code.
int report(const Error& error, const Context& context);
int report_unexpected(const char* what, const Context& context);

/// {"stage":...,"subject":...,"cause":...,"hint":...}
Json to_json(const Error& error);

}  // namespace ferry::tool
