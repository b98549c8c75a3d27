"""Wrong usage is refused before a collection is opened: exit code 2, and nothing is made."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from tests.command_line import Run, runner
from tests.conftest import write_picture

# Each with a value or a combination that is wrong whatever a collection holds, and what is said.
WRONG = """
cluster -k -3 | neither auto nor a whole number
cluster -k 0 | neither auto nor a whole number
cluster -k 2.5 | neither auto nor a whole number
cluster --pca-dims 0 | less than 1
cluster --seed -1 | less than 0
cluster --seed 9999999999 | more than
cluster --space cube | not one of
cluster --undo -k 3 | cannot be combined
cluster --dry-run --outliers | cannot be combined
query 1 --min-score nan | not a number
query 1 --min-score 5 | is not a cosine similarity; use -1 to 1
query 1 --min-score 1.01 | is not a cosine similarity
query 1 --min-score -1.5 | is not a cosine similarity
query 1 --min-score 1e400 | not
query 1 --min-score inf | not a number
query 1 -n 0 | less than 1
query 1 --region 1,2 | four numbers
query 1 --region 0,0,0,1 | W and H above 0
query 1 --region nan,0,1,1 | four numbers
query 1 2 --region 0,0,1,1 | exactly one image
query 1 --sheet sheet.txt | a contact sheet is a file in
query 1 --sheet nowhere/sheet.png | does not exist; make it first
query 1 --sheet taken.png | name a file for the picture
query 1 --images all | not one of
query 1 -0 --json | give one of them
duplicates --min-score 2 | not a cosine similarity
duplicates --min-score -1 | not a cosine similarity
duplicates --min-score 0 | not a cosine similarity
duplicates --min-score nan | not a number
duplicates --keep nowhere | is not a folder
duplicates -0 --similar | without --similar
duplicates dismiss 3 | two images or more
duplicates dismiss 3 3 | two images or more
sweep --k-min 5 --k-max 2 | is not a range
sweep --k-max 0 | less than 1
sweep --k-min nan | not a whole number
view --dims 4 | more than 3
view --out map.txt | a map is a .png or .svg file
view --out map.html --dims 2 | an .html map has 3 dimensions
view --out taken.png | name a file for the picture
view --out nowhere/map.png | does not exist; make it first
view --method umap | not one of
clusters show 1 --sheet sheet.gif | a contact sheet is a file in
clusters name 1 | no name given
clusters name 1 12 | is a number
clusters name 1 cats --release | cannot be combined
clusters split 1 -k 1 | neither auto nor a whole number from 2
clusters merge 3 | two or more different clusters
clusters merge 3 3 | two or more different clusters
clusters merge 3 4 --name 12 | is a number
clusters merge 3 4 --name ' ' | the name is empty
links --folder {x} | it needs {id}
links --folder {id!z} | cannot be read
links --folder {id:q} | cannot be read
links --named-folder {name} | it needs {id}
links --links pictures/one.png | is not a folder
links --check --dry-run | give one of them alone
links --order size | not one of
export --format xml --out x | not one of
export --format csv --out pictures | is a folder
export --format csv --out nowhere/x.csv | does not exist; make it first
export --format projector --out pictures | holds other files
export --format projector --out - | cannot go to standard output
export --format parquet --out - | cannot go to standard output
export --format classic --embeddings --out x.json | has no embeddings
export --format csv --out - --json | both write to standard output
report --out pictures | is a folder
report --out x.pdf | ends in .html
report --out x | ends in .html
report --out nowhere/x.html | does not exist; make it first
backup pictures | is a folder
backup nowhere/x.imgclust | does not exist
backup - | not standard output
restore x.imgclust --to pictures/one.png | is not a folder
restore x.imgclust --to dangling | is not a folder
restore pictures | is a folder
restore nowhere --collection a/b | cannot be the name of a collection
watch nowhere | does not exist
watch pictures/one.png | is not a folder
watch pictures --settle-s -1 | is less than 0
watch pictures --settle-s nan | not a number
watch pictures --rescan-s -5 | is less than 0
watch pictures --recluster-every weekly | neither a number of images
watch pictures --links pictures/links | lie inside each other
watch pictures --links pictures/one.png | is not a folder
watch pictures --log-file pictures | is not a regular file
watch pictures --log-file pictures/one.png | is not a log of imgclust
watch pictures --log-file nowhere/log | does not exist
add nowhere | does not exist
remove '' | is empty
reembed --weights nowhere.h5 | no such file
reembed --weights pictures | weights are a file
collections rename default a/b | cannot be the name of a collection
roots move pictures nowhere | does not exist
roots move pictures pictures/one.png | is not a folder
status --collection a/b | cannot be the name of a collection
status --config nosuch | no configuration is called
""".strip().splitlines()
# Right values of the options above: only the collection is not there.
RIGHT = """
cluster -k 3
cluster --seed 0 --space tsne --pca-dims 8 -y
query 1 --min-score -0.5 -n 3 --sheet sheet.png
query 1 --region 0,0,0.5,1
duplicates --min-score 1 --keep pictures
duplicates dismiss 3 4
sweep --k-min 2 --k-max 2
view --out map.SVG --dims 3
clusters show 1 --sheet sheet.webp
clusters name 1 ''
clusters name 1 cats
clusters merge 3 4 --name cats
links --folder {id}_{count} --named-folder {id:03d}-{name}
links --links elsewhere
export --format csv --out x.csv
export --format projector --out projector
report --out x.HTML
backup x.imgclust
reembed --weights trunk
watch --log-file auto
""".strip().splitlines()


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    write_picture(tmp_path / "pictures" / "one.png", 1)
    (tmp_path / "taken.png").mkdir()
    (tmp_path / "dangling").symlink_to("nowhere")
    monkeypatch.chdir(tmp_path)
    return runner(tmp_path, capsys, monkeypatch)


def there(top: Path) -> set[str]:
    return {str(path.relative_to(top)) for path in top.rglob("*")}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_usage_ends_with_2_before_anything_is_opened(
    run: Run, tmp_path: Path, case: str
) -> None:
    line, words = case.split(" | ")
    before = there(tmp_path)
    said = run(*shlex.split(line))
    if "--json" in line:
        assert said.code == 2
        assert words in said.document["error"]["message"]
    else:
        assert words in said.refused(2)
    assert there(tmp_path) == before


@pytest.mark.parametrize("line", RIGHT)
def test_right_usage_is_not_refused(run: Run, tmp_path: Path, line: str) -> None:
    before = there(tmp_path)
    assert "there is no collection" in run(*shlex.split(line)).refused(3)
    assert there(tmp_path) == before


def test_a_template_is_checked_wherever_it_is_set(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own.toml").write_text('[links]\nfolder = "{number}"\n')
    assert "own.toml" in run("status", "--config", "own.toml").refused(2)
    monkeypatch.setenv("IMGCLUST_LINKS_NAMED_FOLDER", "{name}")
    assert "IMGCLUST_LINKS_NAMED_FOLDER" in run("status").refused(2)
