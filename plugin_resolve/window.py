"""The window, in Tk: one form, one bar, one text. Everything runs in its thread, as Resolve's calls must."""

from __future__ import annotations

import tkinter as tk
from dataclasses import replace
from tkinter import filedialog, ttk

from plugin_resolve.session import CLOSE, DUB, RESTORE, Question
from plugin_resolve.values import PLAYHEAD, SELECTED, WHOLE, Choices
from visualdub.wire.requests import DRAFT, FINAL

SCOPES = {
    SELECTED: "the selected clips",
    PLAYHEAD: "the clip under the playhead",
    WHOLE: "the whole timeline",
}
NEW_ACTOR, BY_FACE = "new, from these clips ...", "whoever is recognised"
OF_A_NEW_ACTOR = ("name", "minutes")  # fields that count for one alone
PAD = 6


class TkWindow:
    """The window of one use. Raises `tkinter.TclError` where there is no display."""

    wants_page = False

    def __init__(self) -> None:
        self.root = tk.Tk()
        self.root.title("Visual Dub")
        self.root.protocol("WM_DELETE_WINDOW", self._on_close)
        self.root.columnconfigure(0, weight=1)
        self._answer = tk.StringVar(self.root)
        self._closed = self._stopped = self._problem = False
        self._sentence = ttk.Label(self.root, wraplength=520)
        self._sentence.grid(sticky="ew", padx=PAD, pady=PAD)
        self._form = ttk.Frame(self.root)
        self._form.grid(sticky="nsew", padx=PAD)
        self._form.columnconfigure(1, weight=1)
        self._bar = ttk.Progressbar(self.root, length=520)
        self._bar.grid(sticky="ew", padx=PAD, pady=PAD)
        self._stage = ttk.Label(self.root, text="")
        self._stage.grid(sticky="ew", padx=PAD)
        self._text = tk.Text(self.root, height=8, width=74, wrap="word", state="disabled")
        self._text.grid(sticky="nsew", padx=PAD, pady=PAD)
        self.root.rowconfigure(4, weight=1)
        self._buttons = ttk.Frame(self.root)
        self._buttons.grid(sticky="e", padx=PAD, pady=PAD)
        self._button = {name: self._add_button(name) for name in ("Dub", "Restore", "Cancel", "Close")}
        self._values: dict[str, tk.StringVar] = {}
        self._fields: dict[str, ttk.Entry] = {}
        self._enable(asking=False)
        self.root.update()

    def _add_button(self, name: str) -> ttk.Button:
        actions = {"Dub": DUB, "Restore": RESTORE, "Close": CLOSE}
        titles = {"Restore": "Restore original"}
        button = ttk.Button(self._buttons, text=titles.get(name, name))
        button.configure(command=self._on_cancel if name == "Cancel" else lambda: self._choose(actions[name]))
        button.pack(side="left", padx=2)
        return button

    def _choose(self, what: str) -> None:
        self._answer.set(what)

    def _on_close(self) -> None:
        self._closed = self._stopped = True
        self._answer.set(CLOSE)

    def _on_cancel(self) -> None:
        self._stopped = True

    def _enable(self, asking: bool, dubbed: int = 0) -> None:
        states = {"Dub": asking, "Restore": asking and dubbed > 0, "Cancel": not asking, "Close": asking}
        for name, on in states.items():
            self._button[name].configure(state="normal" if on else "disabled")

    # ---- the form ------------------------------------------------------------------------------------------

    def ask(self, question: Question) -> tuple[str, Choices]:
        """Show the form and wait for a button."""
        if self._closed:
            return CLOSE, question.last
        self._sentence.configure(text=question.sentence)
        for old in self._form.winfo_children():
            old.destroy()
        last = question.last
        scopes = {SCOPES[s]: s for s in question.scopes}
        self._values = {}
        title = f"{question.info.project} / {question.info.name}, {question.info.rate} frames/s"
        ttk.Label(self._form, text=title).grid(columnspan=2, sticky="w", pady=2)
        self._field("scope", "Dub", SCOPES[last.scope], list(scopes))
        tracks = list(question.info.sound_tracks)
        self._field("track", "New dialogue on", last.dialogue_track, tracks, free=True)
        self._field("ranges", "Ranges, in timecode (may be empty)", last.ranges)
        actors = [*question.actors, BY_FACE, NEW_ACTOR]
        nobody = last.new_actor or not question.actors
        actor = last.actor or (NEW_ACTOR if nobody else BY_FACE)
        self._field("actor", "Actor, a package or a cast file", actor, actors, browse=True, free=True)
        self._field("quality", "Quality", last.quality, [FINAL, DRAFT])
        self._field("name", "Name of a new actor", last.new_actor)
        self._field("consent", "Consent: who, when, scope", last.consent)
        self._field("minutes", "Minutes to make it in (empty: 5)", last.minutes)
        self._field("language", "Language (fr, de; may be empty)", last.language)
        self._field("folder", "Folder for the movies", last.folder, browse=True)
        for name in ("actor", "quality"):
            self._values[name].trace_add("write", self._on_choice)
        self._on_choice()
        self._bar.configure(value=0)
        self._stage.configure(text="")
        self._enable(asking=True, dubbed=question.dubbed)
        self._answer.set("")
        self.root.wait_variable(self._answer)
        self._enable(asking=False)
        self._stopped = self._closed
        value = {k: v.get().strip() for k, v in self._values.items()}
        new, draft = value["actor"] == NEW_ACTOR, value["quality"] == DRAFT
        choices = Choices(
            scope=scopes[value["scope"]],
            dialogue_track=value["track"],
            actor="" if new or value["actor"] == BY_FACE else value["actor"],
            language=value["language"],
            folder=value["folder"],
            new_actor=value["name"] if new else "",
            consent=value["consent"] if new or draft else "",
            minutes=value["minutes"] if new else "",
            ranges=value["ranges"],
            quality=value["quality"],
        )
        what = self._answer.get()
        if what == DUB and new and not (choices.new_actor and choices.consent):
            self.say("A new actor needs a name, and who consented, when and to what.", True)
            return self.ask(replace(question, last=choices))
        return what, choices

    def _field(
        self,
        name: str,
        label: str,
        value: str,
        values: list[str] | None = None,
        *,
        browse: bool = False,
        free: bool = False,
    ) -> None:
        """A line of the form: a list to choose from, or a text. free: the list takes other values too."""
        row = self._form.grid_size()[1]
        variable = self._values[name] = tk.StringVar(self.root, value)
        ttk.Label(self._form, text=label).grid(row=row, column=0, sticky="w", pady=2)
        field: ttk.Entry
        if values is None:
            field = ttk.Entry(self._form, textvariable=variable)
        else:
            state = "normal" if free else "readonly"
            field = ttk.Combobox(self._form, textvariable=variable, values=values, state=state)
        field.grid(row=row, column=1, sticky="ew", pady=2)
        self._fields[name] = field
        if browse:
            button = ttk.Button(self._form, text="...", width=3, command=lambda: self._browse(variable))
            button.grid(row=row, column=2)

    def _on_choice(self, *changed: str) -> None:
        """Only a new actor has a name and minutes to be typed; they and a draft need consent."""
        new, draft = self._values["actor"].get() == NEW_ACTOR, self._values["quality"].get() == DRAFT
        for name in (*OF_A_NEW_ACTOR, "consent"):
            on = new or (draft and name == "consent")
            self._fields[name].configure(state="normal" if on else "disabled")

    def _browse(self, variable: tk.StringVar) -> None:
        chosen = filedialog.askdirectory(parent=self.root, initialdir=variable.get())
        if chosen:
            variable.set(chosen)

    # ---- what is told --------------------------------------------------------------------------------------

    def progress(self, said: str, done: int, total: int) -> bool:
        """Show how far it is and let the window live; False after Cancel."""
        self._stage.configure(text=f"{said} {done}/{total}" if total else said)
        self._bar.configure(maximum=max(total, 1), value=done)
        self.root.update()
        return not self._stopped

    def say(self, text: str, problem: bool = False) -> None:
        """Add a line to the text; a problem stays to be read when the work is over."""
        self._problem = problem
        self._text.configure(state="normal")
        self._text.insert("end", text + "\n")
        self._text.see("end")
        self._text.configure(state="disabled")
        self.root.update()

    def show_page(self, address: str) -> None:
        """Say where the service's page is."""
        self.say(f"The service's page: {address}")

    def close(self) -> None:
        """Close the window; a problem that was said last is read first."""
        if self._problem and not self._closed:
            self._enable(asking=False)
            self._button["Cancel"].configure(state="disabled")
            self._button["Close"].configure(state="normal")
            self.root.wait_variable(self._answer)
        self.root.destroy()
