"""The language model of the article's cells: it answers with what it was asked."""


class CannedLLM:
    async def acomplete(self, prompt: str) -> str:
        return f"[{prompt}]"


llm = CannedLLM()
